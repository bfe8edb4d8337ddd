// One tab in one room: joins the rendezvous, follows the membership, and, whenever a view is offered, prepares its
// worker, connects to everybody and waits at the ready barrier. The page hears about it through one stream of events
// and needs to know nothing else of this folder. The decisions are taken by the pure machines in membership.ts and
// ready-barrier.ts; here are only their effects. A coordinator that is also a member talks to itself by the same
// messages. After `started` the session only watches; a broken link is the transport's to notice. The page says when
// its part of the run is over (`finish`): until then this member is at work, and nobody offers the room another run.

import { AbortedError, FormatError, RoomError } from '../base/errors.ts';
import type { TabmeshError } from '../base/errors.ts';
import { openOrClose } from '../base/open-or-close.ts';
import { coordinatorOf, newMembership, stepMembership } from './membership.ts';
import type { Membership, MembershipAction, MembershipEvent } from './membership.ts';
import type { PeerConnections, PeerConnectionsOptions } from './peer-connections.ts';
import { decodeMessage, encodeMessage } from './messages.ts';
import type { Act, FormingEnd, Message, View } from './messages.ts';
import type { Ending, Presence, Proposal } from './presence.ts';
import { joinRendezvous } from './rendezvous.ts';
import type { PresenceChange, Rendezvous } from './rendezvous.ts';
import { identityOf, newKeyPair } from './identity/keys.ts';
import { Formings } from './room/formings.ts';
import type { Law, Right, Rules } from './room/laws.ts';
import { JudgedRoster } from './room/judged-roster.ts';
import { Offers } from './room/offers.ts';
import { Rights } from './room/rights.ts';
import { RunTalk } from './room/run-talk.ts';
import { checkSize, proposalOf, waitingText, Wishes } from './room/wishes.ts';
import type { Session, SessionEvent, SessionOptions, Wanted } from './room/session-types.ts';

export type { Place, Session, SessionEvent, SessionOptions, Wanted } from './room/session-types.ts';

/** Resolves when the tab is in the room. Rejects with RoomError (broker), ConfigError (key, room, broker address). */
export async function joinRoom(options: SessionOptions): Promise<Session> {
  const createConnections =
    options.createConnections ?? (await import('./webrtc-connections.ts')).createWebRtcConnections;
  return openOrClose(new RoomSession(options, createConnections));
}

/** A member that was at work when we made an offer is looked at again after this. */
const LOOK_AGAIN_MS = 1000;

class RoomSession implements Session {
  readonly #options: SessionOptions;
  readonly #formings: Formings;
  #rendezvous: Rendezvous | undefined;
  #membership: Membership | undefined;
  #present: readonly Presence[] = [];
  #closed = false;
  #ended: TabmeshError | undefined;
  readonly #wishes: Wishes;
  #wish: Proposal | undefined;
  #rights!: Rights;
  #roster!: JudgedRoster;
  #talk!: RunTalk;
  #offers!: Offers;

  constructor(options: SessionOptions, createConnections: (options: PeerConnectionsOptions) => PeerConnections) {
    this.#options = options;
    this.#formings = new Formings({
      session: options,
      createConnections,
      me: () => this.me,
      members: () => this.members,
      send: (to, message) => this.#send(to, message),
      emit: (event) => this.#emit(event),
      step: (event) => this.#step(event),
      update: (change) => this.#rendezvous?.update(change),
      onEnded: (view, reason, end) => this.#onEnded(view, reason, end),
    });
    this.#wishes = new Wishes((wish, by) => this.#objection(wish, by));
  }

  get me(): Presence {
    return this.#rendezvous!.me;
  }
  get members(): readonly Presence[] {
    return this.#membership?.members ?? [];
  }
  get coordinator(): Presence | undefined {
    return coordinatorOf(this.members);
  }
  get rules(): Rules {
    return this.#rights.rules;
  }

  may(right: Right): boolean {
    return this.#rights.may(right);
  }
  decree(rules: Rules): void {
    this.#rights.decree(rules);
  }
  remove(address: string): void {
    this.#rights.remove(address);
  }

  async open(): Promise<void> {
    const { world, carrier, room, key, me, settleMs, protocolVersion } = this.#options;
    const identity = this.#options.identity ?? (await identityOf(await newKeyPair()));
    this.#rights = new Rights({
      room,
      owner: this.#options.owner,
      identity,
      present: () => this.#present,
      onStatus: (text) => this.#status(text),
      onLaw: (...news) => this.#onLaw(...news),
    });
    this.#roster = new JudgedRoster(
      this.#rights,
      (roster) => this.#actOn(roster),
      () => this.#closed,
    );
    this.#offers = new Offers({
      wishes: this.#wishes,
      rights: this.#rights,
      members: () => this.members,
      nameOf: (address) => this.#nameOf(address),
      send: (to, message) => this.#send(to, message),
      onStatus: (text) => this.#status(text),
      onOffered: (from, view) => this.#step({ type: 'offered', from, view }),
    });
    this.#talk = new RunTalk({
      me: () => this.me,
      members: () => this.members,
      rights: this.#rights,
      send: (to, message) => this.#send(to, message),
      emit: (event) => this.#emit(event),
    });
    let arrived: readonly Presence[] = [];
    const rendezvous = await joinRendezvous(
      {
        world,
        carrier,
        room,
        key,
        me,
        identity,
        ...(settleMs === undefined ? {} : { settleMs }),
        ...(protocolVersion === undefined ? {} : { protocolVersion }),
      },
      {
        onPeers: (roster) => {
          if (this.#membership) return this.#onPeers(roster);
          arrived = roster;
        },
        onSignal: (from, payload) => this.#onPayload(from, payload),
        onStatus: (text) => this.#status(text),
        onNotice: (text) => this.#emit({ type: 'notice', text }),
        onFatal: (error) =>
          this.#fail(error instanceof RoomError ? error : new RoomError('closed', error.message, { cause: error })),
      },
    );
    this.#rendezvous = rendezvous;
    const { wanted } = this.#options;
    this.#membership = newMembership(rendezvous.me.address);
    this.#page?.addEventListener('pagehide', this.#onPageHide);
    await this.#onPeers(arrived);
    if (this.#closed) throw this.#ended ?? new AbortedError('the room was left while joining it');
    if (wanted) this.propose(wanted);
  }

  propose(wanted: Wanted): number {
    const wish = proposalOf(wanted, this.#options.world);
    const reason = this.#objection(wish, this.me);
    if (reason !== undefined) throw new RoomError('job', reason);
    checkSize(wish, this.me);
    this.#setWish(wish);
    return wish.run;
  }

  withdraw(): void {
    if (this.#wish) this.#setWish(undefined);
  }

  finish(how: Ending, step: number): void {
    const current = this.#membership?.current;
    if (current?.phase !== 'started') return;
    const { run, wish, view, members } = current.view;
    this.#step({ type: 'finished', view });
    // A next view that this has allowed is announced by now; its presence says both.
    this.#rendezvous?.update({
      ...(this.#membership?.current ? {} : { run: undefined }),
      ended: { run, wish, step, how, rank: members.indexOf(this.me.address) },
    });
  }

  update(change: PresenceChange): void {
    this.#rendezvous?.update(change);
  }

  giveUp(reason: string): void {
    if (this.may('act')) this.#formings.current?.giveUp(reason, 'stopped');
    else this.#status(this.#rights.forbidden('act'));
  }

  act(act: Act): void {
    this.#talk.act(act);
  }
  ask(to: string, run: number): void {
    this.#talk.ask(to, run);
  }
  tell(to: string, run: number, body: unknown): void {
    this.#talk.tell(to, run, body);
  }

  routes(): Promise<ReadonlyMap<number, string>> {
    return this.#formings.current?.routes() ?? Promise.resolve(new Map<number, string>());
  }

  examine(): Promise<void> {
    return this.#formings.current?.examine() ?? Promise.resolve();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#page?.removeEventListener('pagehide', this.#onPageHide);
    this.#formings.current?.close();
    // Also one that was still joined when this was closed before.
    await this.#rendezvous?.close();
  }

  readonly #onPageHide = (): void => {
    void this.close();
  };

  get #page(): SessionOptions['page'] {
    if (this.#options.page !== undefined) return this.#options.page;
    return 'onpagehide' in globalThis ? (globalThis as unknown as EventTarget) : null;
  }

  #setWish(wish: Proposal | undefined, refused?: string): void {
    this.#wish = wish;
    this.#emit({ type: 'wish', wish, ...(refused === undefined ? {} : { refused }) });
    this.#rendezvous?.update({ wants: wish });
  }

  #onPeers(roster: readonly Presence[]): void | Promise<void> {
    this.#present = roster;
    return this.#roster.take(roster);
  }

  #actOn(roster: readonly Presence[]): void {
    this.#step({ type: 'roster', present: this.#wishes.sift(roster.filter(({ id }) => !this.#rights.isRemoved(id))) });
    this.#offers.again();
    if (this.coordinator?.address !== this.me.address) return;
    for (const { wish, by, reason } of this.#wishes.news(
      roster.filter(({ address }) => this.members.some((member) => member.address === address)),
    )) {
      this.#status(`${this.#nameOf(by.address)} asks for a run that cannot be: ${reason}`);
      this.#send(by.address, { type: 'refuse', wish, reason: reason.slice(0, 2000) });
    }
  }

  /** Why somebody may not have this wish. */
  #objection(wish: Pick<Proposal, 'worldSize' | 'plan'>, by: Presence): string | undefined {
    return this.#rights.may('propose', by.id) ? this.#options.check?.(wish, by) : this.#rights.forbidden('propose');
  }

  #onLaw(rules: boolean, removed: readonly string[], law: Law | undefined): void {
    if (this.#closed) return;
    if (rules) this.#emit({ type: 'rules', rules: this.rules });
    for (const id of removed) {
      const by = this.#rights.remover(id);
      if (id === this.me.id) {
        return this.#fail(
          new RoomError(
            'removed',
            `${by ? `'${by.name}'` : 'a member who may'} removed this tab from the room, and it is not let in again; ask its owner, or train alone`,
          ),
        );
      }
      const joins = this.#present.filter((member) => member.id === id);
      const ranks = this.#membership?.current?.view.members ?? [];
      const rank = ranks.findIndex((its) => joins.some(({ address }) => address === its));
      this.#emit({ type: 'removed', id, who: joins[0], rank, by });
    }
    this.#wishes.forget();
    this.#rendezvous!.update({ law });
    if (this.#wish && !this.may('propose')) this.#setWish(undefined, this.#rights.forbidden('propose'));
    if (this.#membership) void this.#onPeers(this.#present);
  }

  #onPayload(from: string, payload: Uint8Array<ArrayBuffer>): void {
    if (this.#closed || !this.#membership) return;
    const sender = this.#present.find(({ address }) => address === from);
    if (this.#membership.refused.has(from) || (sender && this.#rights.isRemoved(sender.id))) return;
    try {
      this.#onMessage(from, decodeMessage(payload));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#status(`a message of ${this.#nameOf(from)} was dropped: ${error.message}`);
    }
  }

  #onMessage(from: string, message: Message): void {
    const by = this.members.find(({ address }) => address === from);
    switch (message.type) {
      case 'offer':
        return this.#offers.take(from, message.view);
      case 'stale':
        return this.#step({ type: 'outdated', refused: message.refused, view: message.view });
      case 'busy':
        return this.#onBusy(message.refused);
      case 'refuse':
        if (from === this.coordinator?.address && message.wish === this.#wish?.wish)
          this.#setWish(undefined, message.reason);
        return;
      case 'act':
      case 'ask':
      case 'news':
        return this.#talk.heard(by, message);
    }
    if (
      message.type === 'abandon' &&
      message.end === 'stopped' &&
      by &&
      by.address !== this.coordinator?.address &&
      !this.#rights.mayDo('stop', by.id)
    )
      return this.#talk.refuse(by.name, 'stop');
    if (this.#formings.receive(from, message)) return;
    if (
      message.type === 'report' &&
      this.coordinator?.address === this.me.address &&
      message.view <= this.#membership!.highest
    ) {
      // Somebody has not heard that this view is over.
      return this.#send(from, {
        type: 'abandon',
        view: message.view,
        reason: 'this group is not formed any more',
        end: 'again',
      });
    }
    this.#formings.keep(from, message);
  }

  #onBusy(refused: number): void {
    this.#step({ type: 'busy', refused });
    this.#options.world.timer(LOOK_AGAIN_MS, () => {
      if (!this.#closed) void this.#onPeers(this.#present);
    });
  }

  #step(event: MembershipEvent): void {
    if (this.#closed || !this.#membership) return;
    const { state, actions } = stepMembership(this.#membership, event);
    this.#membership = state;
    for (const action of actions) this.#act(action);
    if (this.#wish && this.#membership.settled.includes(this.#wish.wish)) this.#setWish(undefined);
    if (event.type === 'roster') this.#tellWaiting();
  }

  #act(action: MembershipAction): void {
    switch (action.type) {
      case 'close':
        return this.#fail(action.error);
      case 'roster':
        return this.#emit({
          type: 'roster',
          members: this.members,
          me: this.me,
          coordinator: this.coordinator?.address,
        });
      case 'refused':
        return this.#status(`'${action.who.name}' is not counted: ${action.reason}`);
      case 'offer':
        return; // sent by the Forming of the coordinator, again at each deadline
      case 'tell-outdated':
        return this.#send(action.to, { type: 'stale', refused: action.refused, view: action.view });
      case 'tell-busy':
        return this.#send(action.to, { type: 'busy', refused: action.refused });
      case 'give-up':
        return this.#formings.giveUp(action.view, action.reason);
      case 'form':
        return this.#take(action.view, action.from);
      case 'lost':
        return this.#onLost(action.rank, action.member);
    }
  }

  /** An offer may have waited for its sender to be the coordinator, while the rules and the wishes changed. */
  #take(view: View, coordinator: string): void {
    this.#formings.drop();
    const refused = coordinator === this.me.address ? undefined : this.#offers.refuse(coordinator, view);
    if (refused === undefined) this.#formings.form(view, coordinator);
    else this.#onEnded(view, refused, 'again');
  }

  #onEnded(view: View, reason: string, end: FormingEnd): void {
    if (end === 'again') this.#status(`${reason}; forming the group anew when enough tabs are here`);
    else if (end === 'stopped') this.#emit({ type: 'stopped', reason });
    else this.#emit({ type: 'failed', error: new RoomError('unreachable', reason), fatal: false });
    const wisher = this.members.find(({ wants }) => wants?.wish === view.wish);
    if (
      end !== 'again' &&
      wisher &&
      !view.members.includes(wisher.address) &&
      this.coordinator?.address === this.me.address
    ) {
      this.#send(wisher.address, { type: 'refuse', wish: view.wish, reason: reason.slice(0, 2000) });
    }
    this.#step({ type: 'ended', view: view.view, again: end === 'again' });
    if (!this.#membership?.current) this.#rendezvous?.update({ run: undefined });
  }

  #onLost(rank: number, member: Presence): void {
    this.#emit({ type: 'lost', rank, member });
    this.#formings.current?.lost(member.address);
  }

  #tellWaiting(): void {
    if (!this.#wish || this.#membership?.current || this.#closed) return;
    const text = waitingText(this.members, this.#wish.worldSize);
    if (text !== undefined) this.#status(text);
  }

  #send(to: string, message: Message): void {
    // A coordinator that is a member reports to itself; the same path as for the others, a moment later.
    if (to === this.me.address)
      queueMicrotask(() => {
        if (!this.#closed) this.#onMessage(to, message);
      });
    else this.#rendezvous?.signal(to, encodeMessage(message));
  }

  #nameOf(address: string): string {
    return `'${this.#present.find((presence) => presence.address === address)?.name ?? address}'`;
  }

  #status(text: string): void {
    this.#emit({ type: 'status', text });
  }

  #fail(error: TabmeshError): void {
    if (this.#closed) return;
    this.#ended = error;
    const closing = this.close();
    this.#options.onEvent({ type: 'failed', error, fatal: true });
    closing.catch((cause: unknown) =>
      this.#options.onEvent({ type: 'status', text: `the room could not be left cleanly (${String(cause)})` }),
    );
  }

  #emit(event: SessionEvent): void {
    if (!this.#closed) this.#options.onEvent(event);
  }
}
