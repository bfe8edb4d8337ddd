// One attempt to form one view on one member: prepare the worker, connect to every rank, report to the coordinator,
// start together or end with a reason. The coordinator also runs the ready barrier: it sends the offer, and repeats it
// with every deadline, because a broker may lose a signal while reconnecting; every message here may therefore arrive
// twice. A member repeats its report until it has heard `start`. What ends it: `start`, `abandon`, a member that
// leaves, `close`. Afterwards it is deaf, except that the coordinator still answers a late report with `start`.

import type { World } from '../base/world.ts';
import type { Lanes } from '../transport/transport.ts';
import { channelWire } from '../transport/webrtc.ts';
import { isConnected, sentenceOf } from './ice/diagnosis.ts';
import type { IceDiagnosis } from './ice/diagnosis.ts';
import type { IceConfig } from './ice/servers.ts';
import type { ChannelLanes, PeerConnections, PeerConnectionsOptions } from './peer-connections.ts';
import type { FormingEnd, LinkState, Message, Pair, Report, View } from './messages.ts';
import { newBarrier, progress, stepBarrier } from './ready-barrier.ts';
import type { Barrier, BarrierAction, BarrierEvent } from './ready-barrier.ts';

export interface FormingOptions {
  readonly world: World;
  readonly view: View;
  readonly me: string;
  readonly coordinator: string;
  readonly names: readonly string[];
  readonly ice: () => IceConfig;
  readonly deadlineMs: number;
  readonly maxAttempts: number;
  readonly createConnections: (options: PeerConnectionsOptions) => PeerConnections;
  readonly prepare: () => Promise<void>;
  readonly adopt?: PeerConnectionsOptions['adopt'];
  readonly send: (to: string, message: Message) => void;
  readonly onStatus: (text: string) => void;
  /** What the doctor says of the connection to each rank; comes a few times while they form, and when asked. */
  readonly onDiagnoses: (diagnoses: ReadonlyMap<number, IceDiagnosis>) => void;
  readonly onStarted: (lanes: ReadonlyMap<number, ChannelLanes>, wires: ReadonlyMap<number, Lanes>) => void;
  readonly onEnded: (reason: string, how: FormingEnd) => void;
}

export type FormingMessage = Extract<Message, { type: 'report' | 'retry' | 'start' | 'abandon' | 'ice' }>;

/** How often a member repeats its report, as a part of the deadline. */
const REPORTS_PER_DEADLINE = 4;
/** A report must fit a sealed signal of 16 KiB, whatever the doctor says of its links. */
const MAX_NOTES_LENGTH = 6000;
const MAX_NOTE_LENGTH = 450;

export class Forming {
  readonly view: View;
  readonly #options: FormingOptions;
  readonly #rank: number;
  readonly #connections: PeerConnections;
  readonly #links: (LinkState | undefined)[];
  readonly #waiting: { readonly rank: number; readonly message: Extract<Message, { type: 'ice' }> }[] = [];
  readonly #wires = new Map<number, Lanes>();
  #diagnoses: ReadonlyMap<number, IceDiagnosis> = new Map();
  #barrier: Barrier | undefined;
  #ready = false;
  #note = 'its worker is starting';
  #phase: 'forming' | 'started' | 'over' = 'forming';
  #cancelDeadline = (): void => {};
  #cancelReport = (): void => {};

  constructor(options: FormingOptions) {
    this.#options = options;
    const { view, me, coordinator, names, maxAttempts, ice, world } = options;
    this.view = view;
    this.#rank = view.members.indexOf(me);
    this.#links = view.members.map((_, rank) =>
      rank === this.#rank ? undefined : { state: 'connecting', attempt: 1 },
    );
    if (coordinator === me) this.#barrier = newBarrier(view.view, names, maxAttempts);
    this.#connections = options.createConnections({
      name: `${view.view} ${view.members.join(' ')}`,
      members: view.members,
      rank: this.#rank,
      ice,
      now: () => world.now(),
      adopt: options.adopt ?? ((peer, lanes) => this.#keepOnPage(peer, lanes)),
      onLink: (peer, state) => this.#onLink(peer, state),
      onSignal: (peer, attempt, data) =>
        options.send(view.members[peer]!, { type: 'ice', view: view.view, attempt, data }),
    });
  }

  begin(): void {
    if (this.#barrier) {
      this.#offer();
      this.#deadline();
      this.#options.onStatus(progress(this.#barrier));
    }
    this.#repeatReport();
    this.#options.prepare().then(
      () => {
        if (this.#phase !== 'forming') return;
        this.#ready = true;
        this.#note = '';
        this.view.members.forEach((_, peer) => {
          if (peer !== this.#rank) this.#connections.connect({ peer, attempt: this.#links[peer]!.attempt });
        });
        for (const { rank, message } of this.#waiting.splice(0))
          this.#connections.signal(rank, message.attempt, message.data);
        this.#report();
      },
      (error: unknown) => {
        this.#note = (error instanceof Error ? error.message : String(error)).slice(0, 500);
        // This tab cannot take part; the others should hear why at once and not wait for a deadline.
        const reason = `rank ${this.#rank} (${this.#options.names[this.#rank]}): ${this.#note}`;
        this.#options.send(this.#options.coordinator, { type: 'abandon', view: this.view.view, reason, end: 'failed' });
      },
    );
  }

  receive(from: string, message: FormingMessage): void {
    const rank = this.view.members.indexOf(from);
    if (rank < 0 || this.#phase === 'over') return;
    const fromCoordinator = from === this.#options.coordinator;
    switch (message.type) {
      case 'ice':
        if (rank === this.#rank) return;
        // Channels must not open before the worker can take them.
        // A started view keeps its connections: no late signal may replace one.
        if (this.#phase === 'started' && message.attempt !== this.#links[rank]?.attempt) return;
        if (this.#ready) this.#connections.signal(rank, message.attempt, message.data);
        else if (this.#waiting.length < 64 * this.view.members.length) this.#waiting.push({ rank, message });
        return;
      case 'report':
        if (message.report.rank !== rank || !this.#barrier) return;
        if (this.#phase === 'started') return this.#options.send(from, { type: 'start', view: this.view.view });
        return this.#stepBarrier({ type: 'report', view: message.view, report: message.report });
      case 'retry':
        if (fromCoordinator && this.#phase === 'forming') this.#retry(message.pairs);
        return;
      case 'start':
        if (fromCoordinator && this.#phase === 'forming') this.#start();
        return;
      case 'abandon':
        // A member asks the coordinator to give up; the coordinator tells everybody.
        if (this.#phase !== 'forming') return;
        if (this.#barrier) this.#abandon(message.reason, message.end === 'stopped' ? 'stopped' : 'failed');
        else if (fromCoordinator) this.#end(message.reason, message.end);
    }
  }

  /** See PeerConnections.routes. */
  routes(): Promise<ReadonlyMap<number, string>> {
    return this.#connections.routes();
  }

  /** Asks the doctor about every connection; `onDiagnoses` hears it. */
  async examine(): Promise<void> {
    this.#diagnoses = await this.#connections.examine();
    if (this.#diagnoses.size > 0) this.#options.onDiagnoses(this.#diagnoses);
  }

  /** Ends it for everybody, if it has not started: asks the coordinator, or is it. */
  giveUp(reason: string, end: FormingEnd): void {
    if (this.#phase !== 'forming') return;
    if (this.#barrier) this.#abandon(reason, end);
    else
      this.#options.send(this.#options.coordinator, {
        type: 'abandon',
        view: this.view.view,
        reason: reason.slice(0, 2000),
        end,
      });
  }

  /** A member of the view left the room. */
  lost(address: string): void {
    const rank = this.view.members.indexOf(address);
    if (this.#phase !== 'forming' || rank < 0) return;
    if (this.#barrier) this.#stepBarrier({ type: 'left', rank });
    else if (address === this.#options.coordinator)
      this.#end(`the coordinator (${this.#options.names[rank]}) left while the tabs were connecting`, 'again');
  }

  close(): void {
    if (this.#phase === 'over') return;
    this.#phase = 'over';
    this.#cancelDeadline();
    this.#cancelReport();
    this.#connections.close();
  }

  /** Wires listen from the start: a peer that hears `start` earlier may send before we do. */
  #keepOnPage(peer: number, lanes: ChannelLanes): Promise<void> {
    this.#wires.set(peer, {
      control: channelWire(lanes.control),
      bulk: channelWire(lanes.bulk),
      ...(lanes.latency ? { latency: channelWire(lanes.latency) } : {}),
    });
    return untilOpen(lanes);
  }

  #onLink(peer: number, state: LinkState): void {
    this.#links[peer] = state;
    if (this.#phase !== 'forming' || state.state === 'connecting') return;
    // The coordinator may act on a failure at once: the reason goes with it.
    if (state.state === 'failed') this.#examineAndReport();
    else this.#report();
  }

  #report(): void {
    const report: Report = {
      rank: this.#rank,
      ready: this.#ready,
      note: this.#note,
      links: this.#links.map((link, peer) => this.#withNote(link, peer)),
    };
    this.#options.send(this.#options.coordinator, { type: 'report', view: this.view.view, report });
  }

  #repeatReport(): void {
    const { world, deadlineMs } = this.#options;
    this.#cancelReport = world.timer(deadlineMs / REPORTS_PER_DEADLINE, () => {
      if (this.#phase !== 'forming') return;
      this.#examineAndReport();
      this.#repeatReport();
    });
  }

  #examineAndReport(): void {
    void this.examine().then(() => {
      if (this.#phase === 'forming') this.#report();
    });
  }

  /** A link that is not open, with what the doctor says of it. */
  #withNote(link: LinkState | undefined, peer: number): LinkState | undefined {
    const diagnosis = this.#diagnoses.get(peer);
    // Where packets went both ways, the failure lies elsewhere and has its own reason.
    if (
      !link ||
      link.state === 'open' ||
      !diagnosis ||
      diagnosis.verdict === 'connecting' ||
      diagnosis.verdict === 'broken' ||
      isConnected(diagnosis)
    )
      return link;
    const note = sentenceOf(diagnosis).slice(
      0,
      Math.min(MAX_NOTE_LENGTH, Math.floor(MAX_NOTES_LENGTH / this.view.members.length)),
    );
    return { ...link, note };
  }

  #offer(): void {
    this.#toOthers({ type: 'offer', view: this.view });
  }

  #toOthers(message: Message): void {
    for (const address of this.view.members) if (address !== this.#options.me) this.#options.send(address, message);
  }

  #deadline(): void {
    this.#cancelDeadline = this.#options.world.timer(this.#options.deadlineMs, () => {
      if (this.#phase !== 'forming') return;
      // Before the barrier judges, so that a member who missed the offer has the whole next deadline.
      this.#offer();
      this.#deadline();
      this.#stepBarrier({ type: 'deadline', view: this.view.view });
    });
  }

  #stepBarrier(event: BarrierEvent): void {
    const { state, actions } = stepBarrier(this.#barrier!, event);
    this.#barrier = state;
    for (const action of actions) this.#act(action);
  }

  #act(action: BarrierAction): void {
    switch (action.type) {
      case 'status':
        return this.#options.onStatus(action.text);
      case 'retry':
        this.#toOthers({ type: 'retry', view: this.view.view, pairs: action.pairs });
        return this.#retry(action.pairs);
      case 'start':
        this.#toOthers({ type: 'start', view: this.view.view });
        return this.#start();
      case 'fail':
        return this.#abandon(action.reason, action.again ? 'again' : 'failed');
    }
  }

  #retry(pairs: readonly Pair[]): void {
    for (const { low, high, attempt } of pairs) {
      const peer = low === this.#rank ? high : high === this.#rank ? low : undefined;
      if (peer === undefined || peer >= this.view.members.length) continue;
      if (this.#ready) this.#connections.connect({ peer, attempt });
      else this.#links[peer] = { state: 'connecting', attempt };
    }
  }

  #start(): void {
    this.#phase = 'started';
    this.#cancelDeadline();
    this.#cancelReport();
    this.#options.onStarted(this.#connections.lanes(), this.#wires);
    void this.examine();
  }

  #abandon(reason: string, end: FormingEnd): void {
    this.#toOthers({ type: 'abandon', view: this.view.view, reason: reason.slice(0, 2000), end });
    this.#end(reason, end);
  }

  #end(reason: string, end: FormingEnd): void {
    this.close();
    this.#options.onEnded(reason, end);
  }
}

/** Rejects when one closes before it opened. */
function untilOpen(lanes: ChannelLanes): Promise<void> {
  return Promise.all(
    [lanes.control, lanes.bulk, ...(lanes.latency ? [lanes.latency] : [])].map(
      (channel) =>
        new Promise<void>((open, refused) => {
          if (channel.readyState === 'open') return open();
          channel.addEventListener('open', () => open(), { once: true });
          channel.addEventListener(
            'close',
            () => refused(new Error(`the channel '${channel.label}' closed before it opened`)),
            { once: true },
          );
        }),
    ),
  ).then(() => undefined);
}
