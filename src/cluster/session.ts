// One tab in one room: joins the rendezvous, follows the membership, and, whenever a view is offered, prepares its worker, connects to everybody and waits at
// the ready barrier. The page hears about it through one stream of events and needs to know nothing else of this folder.
// The decisions are taken by the pure machines in membership.ts and ready-barrier.ts; here are only their effects. Signals that arrive for a view before
// its offer are kept (a few), because two senders are not ordered. A coordinator that is also a member talks to itself by the same messages.
// After `started` the session only watches; a broken link is the transport's to notice, and a new view is formed by `propose`.

import { FormatError, InternalError, RoomError } from '../base/errors.ts';
import type { TabmeshError } from '../base/errors.ts';
import type { World } from '../base/world.ts';
import type { Lanes } from '../transport/transport.ts';
import { coordinatorOf, newMembership, stepMembership } from './membership.ts';
import type { Membership, MembershipAction, MembershipEvent } from './membership.ts';
import type { IceDiagnosis } from './ice/report.ts';
import { NO_ICE } from './ice/servers.ts';
import type { IceConfig } from './ice/servers.ts';
import type { ChannelLanes, Mesh, MeshOptions } from './mesh.ts';
import { decodeMessage, encodeMessage, MAX_WORLD_SIZE } from './messages.ts';
import type { Message, Proposal, View } from './messages.ts';
import type { Introduction, Presence } from './presence.ts';
import { joinRendezvous } from './rendezvous.ts';
import type { Carrier, Rendezvous } from './rendezvous.ts';
import { Forming } from './forming.ts';
import type { FormingMessage } from './forming.ts';

/** What to train with how many ranks. */
export interface Wanted {
  readonly worldSize: number;
  /** Any JSON of a few kilobytes; the same value reaches every rank. */
  readonly plan: unknown;
  /** Continue the run of this number in a new view, instead of beginning one. */
  readonly run?: number;
}

/** Our place in a view. */
export interface Place { readonly rank: number; readonly worldSize: number; readonly view: number; readonly run: number; readonly plan: unknown; readonly members: readonly Presence[] }

export type SessionEvent =
  /** Who is here, oldest first; `coordinator` is an address. */
  | { readonly type: 'roster'; readonly members: readonly Presence[]; readonly me: Presence; readonly coordinator: string | undefined }
  /** One sentence for people. */
  | { readonly type: 'status'; readonly text: string }
  /** A view is being formed; whatever ran in an earlier view of this session is over. */
  | { readonly type: 'forming'; readonly place: Place }
  /** `lanes` by rank; `wires` over them, when the session had no `adopt` and the channels stayed on the page. */
  | { readonly type: 'started'; readonly place: Place; readonly lanes: ReadonlyMap<number, ChannelLanes>; readonly wires: ReadonlyMap<number, Lanes> }
  /** What the connection doctor says of the link to each rank of the current view; see `examine`. */
  | { readonly type: 'connections'; readonly place: Place; readonly diagnoses: ReadonlyMap<number, IceDiagnosis> }
  /** A member of the current view left the room or died. */
  | { readonly type: 'lost'; readonly rank: number; readonly member: Presence }
  /** `fatal`: the session is closed; otherwise only the view could not be formed. */
  | { readonly type: 'failed'; readonly error: TabmeshError; readonly fatal: boolean };

export interface SessionOptions {
  readonly world: World;
  readonly carrier: Carrier;
  readonly room: string;
  /** From newRoomKey; travels in the URL fragment. */
  readonly key: string;
  readonly me: Introduction;
  readonly onEvent: (event: SessionEvent) => void;
  /** Formed as soon as enough trainers are here, by whoever is the coordinator. */
  readonly wanted?: Wanted;
  /** Resolves when the worker can take channels; called for each view before any connection begins. */
  readonly prepare?: (place: Place) => Promise<void>;
  /** See MeshOptions.adopt; by default the channels stay on the page. */
  readonly adopt?: MeshOptions['adopt'];
  /** Servers of the next connection; asked whenever one begins. By default none: tabs of one network find each other. */
  readonly ice?: () => IceConfig;
  /** The window; its pagehide closes the session. null: none. */
  readonly page?: Pick<EventTarget, 'addEventListener' | 'removeEventListener'> | null;
  readonly createMesh?: (options: MeshOptions) => Mesh;
  readonly deadlineMs?: number;
  readonly maxAttempts?: number;
  readonly settleMs?: number;
  readonly protocolVersion?: number;
}

export interface Session {
  readonly me: Presence;
  readonly members: readonly Presence[];
  readonly coordinator: Presence | undefined;
  /** Asks for a run; goes to the coordinator, who forms a view of it when enough trainers are here. Returns the number of the run. */
  propose(wanted: Wanted): number;
  /** How the packets to each rank of the current view travel: 'host', 'srflx', 'prflx', 'relay' or 'unknown'. */
  routes(): Promise<ReadonlyMap<number, string>>;
  /** Asks the connection doctor anew; the answer is an event 'connections'. */
  examine(): Promise<void>;
  /** Leaves the room and closes all connections. No event follows. */
  close(): Promise<void>;
}

/** Resolves when the tab is in the room. Rejects with RoomError (wrong-key, broker), ConfigError (key, room, broker address). */
export async function joinRoom(options: SessionOptions): Promise<Session> {
  const createMesh = options.createMesh ?? (await import('./peer-mesh.ts')).createPeerMesh;
  const session = new RoomSession(options, createMesh);
  await session.open();
  return session;
}

const MAX_EARLY_SIGNALS = 512;

class RoomSession implements Session {
  readonly #options: SessionOptions;
  readonly #createMesh: (options: MeshOptions) => Mesh;
  #rendezvous: Rendezvous | undefined;
  #membership: Membership | undefined;
  #present: readonly Presence[] = [];
  #forming: Forming | undefined;
  #early: { readonly from: string; readonly message: FormingMessage }[] = [];
  #closed = false;

  constructor(options: SessionOptions, createMesh: (options: MeshOptions) => Mesh) {
    this.#options = options;
    this.#createMesh = createMesh;
  }

  get me(): Presence { return this.#rendezvous!.me; }
  get members(): readonly Presence[] { return this.#membership?.members ?? []; }
  get coordinator(): Presence | undefined { return coordinatorOf(this.members); }

  async open(): Promise<void> {
    const { world, carrier, room, key, me, settleMs, protocolVersion } = this.#options;
    let arrived: readonly Presence[] = [];
    const rendezvous = await joinRendezvous(
      { world, carrier, room, key, me, ...(settleMs === undefined ? {} : { settleMs }), ...(protocolVersion === undefined ? {} : { protocolVersion }) },
      {
        onPeers: (roster) => {
          arrived = roster;
          if (this.#membership) this.#onPeers(roster);
        },
        onSignal: (from, payload) => this.#onPayload(from, payload),
        onStatus: (text) => this.#status(text),
        onFatal: (error) => this.#fail(error instanceof RoomError ? error : new RoomError('closed', error.message, { cause: error })),
      },
    );
    this.#rendezvous = rendezvous;
    const { wanted } = this.#options;
    this.#membership = newMembership(rendezvous.me.address, wanted && this.#proposal(wanted));
    this.#page?.addEventListener('pagehide', this.#onPageHide);
    this.#onPeers(arrived);
  }

  propose(wanted: Wanted): number {
    const proposal = this.#proposal(wanted);
    const { coordinator } = this;
    if (coordinator && coordinator.address !== this.me.address) this.#send(coordinator.address, { type: 'propose', proposal });
    else this.#step({ type: 'proposed', proposal });
    return proposal.run;
  }

  routes(): Promise<ReadonlyMap<number, string>> { return this.#forming?.routes() ?? Promise.resolve(new Map<number, string>()); }

  examine(): Promise<void> { return this.#forming?.examine() ?? Promise.resolve(); }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#page?.removeEventListener('pagehide', this.#onPageHide);
    this.#forming?.close();
    await this.#rendezvous?.close();
  }

  readonly #onPageHide = (): void => { void this.close(); };

  get #page(): SessionOptions['page'] {
    if (this.#options.page !== undefined) return this.#options.page;
    return 'onpagehide' in globalThis ? globalThis as unknown as EventTarget : null;
  }

  #proposal({ worldSize, plan, run }: Wanted): Proposal {
    if (!Number.isInteger(worldSize) || worldSize < 1 || worldSize > MAX_WORLD_SIZE) {
      throw new RoomError('unreachable', `expected a world of 1 to ${MAX_WORLD_SIZE} ranks, got ${worldSize}`);
    }
    return { worldSize, plan, run: run ?? new Uint32Array(this.#options.world.randomBytes(4).buffer)[0]! };
  }

  #onPeers(roster: readonly Presence[]): void {
    this.#present = roster;
    this.#step({ type: 'roster', present: roster });
  }

  #onPayload(from: string, payload: Uint8Array<ArrayBuffer>): void {
    if (this.#closed || !this.#membership) return;
    if (this.#membership.refused.has(from)) return;
    try {
      this.#onMessage(from, decodeMessage(payload));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#status(`a message of ${this.#nameOf(from)} was dropped: ${error.message}`);
    }
  }

  #onMessage(from: string, message: Message): void {
    if (message.type === 'offer') return this.#step({ type: 'offered', from, view: message.view });
    if (message.type === 'stale') return this.#step({ type: 'outdated', refused: message.refused, view: message.view });
    if (message.type === 'propose') return this.#onPropose(from, message.proposal);
    const forming = this.#forming;
    if (forming && message.view === forming.view.view) return forming.receive(from, message);
    if (message.view > (forming?.view.view ?? 0) && this.#early.length < MAX_EARLY_SIGNALS) this.#early.push({ from, message });
  }

  #onPropose(from: string, proposal: Proposal): void {
    if (this.coordinator?.address !== this.me.address) return;
    this.#status(`${this.#nameOf(from)} asks for a run with ${proposal.worldSize} ranks`);
    this.#step({ type: 'proposed', proposal });
  }

  #step(event: MembershipEvent): void {
    if (this.#closed || !this.#membership) return;
    const { state, actions } = stepMembership(this.#membership, event);
    this.#membership = state;
    for (const action of actions) this.#act(action);
    if (event.type === 'roster' || event.type === 'proposed') this.#tellWaiting();
  }

  #act(action: MembershipAction): void {
    switch (action.type) {
      case 'close': return this.#fail(action.error);
      case 'roster': return this.#emit({ type: 'roster', members: this.members, me: this.me, coordinator: this.coordinator?.address });
      case 'refused': return this.#status(`'${action.who.name}' is not counted: ${action.reason}`);
      case 'offer': return; // sent by the Forming of the coordinator, again at each deadline
      case 'tell-outdated': return this.#send(action.to, { type: 'stale', refused: action.refused, view: action.view });
      case 'form': return this.#form(action.view, action.from);
      case 'lost': return this.#onLost(action.rank, action.member);
    }
  }

  #form(view: View, coordinator: string): void {
    this.#forming?.close();
    const { world, prepare, adopt, ice = () => NO_ICE, deadlineMs = 10_000, maxAttempts = 3 } = this.#options;
    const place = this.#placeIn(view);
    const forming: Forming = new Forming({
      world, view, me: this.me.address, coordinator, names: place.members.map((member) => member.name), ice, deadlineMs, maxAttempts, createMesh: this.#createMesh,
      prepare: () => prepare?.(place) ?? Promise.resolve(), ...(adopt ? { adopt } : {}),
      send: (to, message) => this.#send(to, message),
      onStatus: (text) => this.#status(text),
      onDiagnoses: (diagnoses) => { if (this.#forming === forming) this.#emit({ type: 'connections', place, diagnoses }); },
      onStarted: (lanes, wires) => {
        this.#step({ type: 'started', view: view.view });
        if (this.#forming === forming) this.#emit({ type: 'started', place, lanes, wires });
      },
      onEnded: (reason, again) => {
        if (this.#forming !== forming) return;
        this.#forming = undefined;
        if (again) this.#status(`${reason}; forming the group anew when enough tabs are here`);
        else this.#emit({ type: 'failed', error: new RoomError('unreachable', reason), fatal: false });
        this.#step({ type: 'ended', view: view.view, again });
      },
    });
    this.#forming = forming;
    this.#emit({ type: 'forming', place });
    forming.begin();
    const early = this.#early;
    this.#early = early.filter(({ message }) => message.view > view.view);
    for (const { from, message } of early) if (message.view === view.view) forming.receive(from, message);
  }

  #onLost(rank: number, member: Presence): void {
    this.#emit({ type: 'lost', rank, member });
    this.#forming?.lost(member.address);
  }

  #placeIn(view: View): Place {
    const members = view.members.map((address) => this.members.find((member) => member.address === address) ?? missingMember(address));
    return { rank: view.members.indexOf(this.me.address), worldSize: view.members.length, view: view.view, run: view.run, plan: view.plan, members };
  }

  #tellWaiting(): void {
    const membership = this.#membership;
    if (!membership?.proposal || membership.current || this.#closed) return;
    const { worldSize } = membership.proposal;
    const here = membership.members.filter((member) => member.role === 'trainer').length;
    if (here < worldSize) this.#status(`${here} of ${worldSize} tabs are here; open ${worldSize - here} more with this room's link`);
  }

  #send(to: string, message: Message): void {
    // A coordinator that is a member reports to itself; the same path as for the others, a moment later.
    if (to === this.me.address) queueMicrotask(() => { if (!this.#closed) this.#onMessage(to, message); });
    else this.#rendezvous?.signal(to, encodeMessage(message));
  }

  #nameOf(address: string): string {
    return `'${this.#present.find((presence) => presence.address === address)?.name ?? address}'`;
  }

  #status(text: string): void { this.#emit({ type: 'status', text }); }

  #fail(error: TabmeshError): void {
    if (this.#closed) return;
    const closing = this.close();
    this.#options.onEvent({ type: 'failed', error, fatal: true });
    closing.catch((cause: unknown) => this.#options.onEvent({ type: 'status', text: `the room could not be left cleanly (${String(cause)})` }));
  }

  #emit(event: SessionEvent): void { if (!this.#closed) this.#options.onEvent(event); }
}

function missingMember(address: string): never {
  throw new InternalError(`a view was taken with the member ${address}, who is not in the roster`);
}
