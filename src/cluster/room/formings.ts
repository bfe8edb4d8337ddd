// The views that this tab forms, one after the other: each attempt is a Forming, and a newer one takes the place of an
// older one. Signals that arrive for a view before its offer are kept (a few), because two senders are not ordered.

import { Forming } from '../forming.ts';
import type { FormingMessage } from '../forming.ts';
import { NO_ICE } from '../ice/servers.ts';
import type { MembershipEvent } from '../membership.ts';
import type { FormingEnd, Message, View } from '../messages.ts';
import type { PeerConnections, PeerConnectionsOptions } from '../peer-connections.ts';
import type { Presence } from '../presence.ts';
import type { PresenceChange } from '../rendezvous.ts';
import { placeIn } from './place.ts';
import type { SessionEvent, SessionOptions } from './session-types.ts';

const MAX_EARLY_SIGNALS = 512;

export interface FormingsOptions {
  readonly session: SessionOptions;
  readonly createConnections: (options: PeerConnectionsOptions) => PeerConnections;
  readonly me: () => Presence;
  readonly members: () => readonly Presence[];
  readonly send: (to: string, message: Message) => void;
  readonly emit: (event: SessionEvent) => void;
  readonly step: (event: MembershipEvent) => void;
  readonly update: (change: PresenceChange) => void;
  /** The view did not start, or is given up. */
  readonly onEnded: (view: View, reason: string, end: FormingEnd) => void;
}

export class Formings {
  readonly #options: FormingsOptions;
  #current: Forming | undefined;
  #early: { readonly from: string; readonly message: FormingMessage }[] = [];

  constructor(options: FormingsOptions) {
    this.#options = options;
  }

  /** What is being formed, or has been and is at work. */
  get current(): Forming | undefined {
    return this.#current;
  }

  /** False when the message is not about what is being formed. */
  receive(from: string, message: FormingMessage): boolean {
    const current = this.#current;
    if (current?.view.view !== message.view) return false;
    current.receive(from, message);
    return true;
  }

  /** Keeps a message about a view whose offer has not come. */
  keep(from: string, message: FormingMessage): void {
    if (message.view > (this.#current?.view.view ?? 0) && this.#early.length < MAX_EARLY_SIGNALS)
      this.#early.push({ from, message });
  }

  form(view: View, coordinator: string): void {
    const { session, createConnections, me, members, send, emit, step, update } = this.#options;
    const { world, prepare, adopt, ice = () => NO_ICE, deadlineMs = 10_000, maxAttempts = 3 } = session;
    const { address } = me();
    const place = placeIn(view, address, members());
    const forming: Forming = new Forming({
      world,
      view,
      me: address,
      coordinator,
      names: place.members.map((member) => member.name),
      ice,
      deadlineMs,
      maxAttempts,
      createConnections,
      prepare: () => prepare?.(place) ?? Promise.resolve(),
      ...(adopt ? { adopt } : {}),
      send,
      onStatus: (text) => emit({ type: 'status', text }),
      onDiagnoses: (diagnoses) => {
        if (this.#current === forming) emit({ type: 'connections', place, diagnoses });
      },
      onStarted: (lanes, wires) => {
        step({ type: 'started', view: view.view });
        update({ run: { ...workIn(view, address), phase: 'training' } });
        if (this.#current === forming) emit({ type: 'started', place, lanes, wires });
      },
      onEnded: (reason, end) => {
        if (this.#current !== forming) return;
        this.#current = undefined;
        this.#options.onEnded(view, reason, end);
      },
    });
    this.#current = forming;
    emit({ type: 'forming', place });
    update({ run: { ...workIn(view, address), phase: 'forming' } });
    if (this.#current !== forming) return;
    forming.begin();
    const early = this.#early;
    this.#early = early.filter(({ message }) => message.view > view.view);
    for (const { from, message } of early) if (message.view === view.view) forming.receive(from, message);
  }

  /** Ends the attempt at this view, which may be tried again. */
  giveUp(view: number, reason: string): void {
    if (this.#current?.view.view === view) this.#current.giveUp(reason, 'again');
  }

  /** Ends what is being formed, without a word. */
  drop(): void {
    this.#current?.close();
    this.#current = undefined;
  }
}

function workIn({ run, wish, view, members }: View, me: string): Omit<NonNullable<Presence['run']>, 'phase'> {
  return { run, wish, view, rank: members.indexOf(me), size: members.length };
}
