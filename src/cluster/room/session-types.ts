// What a page gives to a session, hears from it and may ask of it.

import type { TabmeshError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Lanes } from '../../transport/transport.ts';
import type { Identity } from '../identity/keys.ts';
import type { IceDiagnosis } from '../ice/diagnosis.ts';
import type { IceConfig } from '../ice/servers.ts';
import type { ChannelLanes, PeerConnections, PeerConnectionsOptions } from '../peer-connections.ts';
import type { Act } from '../messages.ts';
import type { Ending, Introduction, Presence, Proposal } from '../presence.ts';
import type { Carrier, PresenceChange } from '../rendezvous.ts';
import type { Right, Rules } from './laws.ts';
import type { CheckWish } from './wishes.ts';

/** What to train with how many ranks. */
export interface Wanted {
  readonly worldSize: number;
  /** The job, by its name in messages: any JSON of a few kilobytes; the same value reaches every rank. */
  readonly plan: unknown;
  /** Continue the run of this number in a new view, instead of beginning one. */
  readonly run?: number;
}

/** Our place in a view. */
export interface Place {
  readonly rank: number;
  readonly worldSize: number;
  readonly view: number;
  readonly run: number;
  readonly wish: number;
  readonly plan: unknown;
  readonly members: readonly Presence[];
}

export type SessionEvent =
  /** Who is here, oldest first; `coordinator` is an address. */
  | {
      readonly type: 'roster';
      readonly members: readonly Presence[];
      readonly me: Presence;
      readonly coordinator: string | undefined;
    }
  /** One sentence for people. */
  | { readonly type: 'status'; readonly text: string }
  /** One sentence about others under the name of this room, which stays true: another key, another version. */
  | { readonly type: 'notice'; readonly text: string }
  /**
   * What we would like to train, which waits in the room until it is granted; undefined: nothing any more. `refused`:
   * why it never will be.
   */
  | { readonly type: 'wish'; readonly wish: Proposal | undefined; readonly refused?: string }
  /** A view is being formed. */
  | { readonly type: 'forming'; readonly place: Place }
  /** `lanes` by rank; `wires` over them, when the session had no `adopt` and the channels stayed on the page. */
  | {
      readonly type: 'started';
      readonly place: Place;
      readonly lanes: ReadonlyMap<number, ChannelLanes>;
      readonly wires: ReadonlyMap<number, Lanes>;
    }
  /** What the connection doctor says of the link to each rank of the current view; see `examine`. */
  | { readonly type: 'connections'; readonly place: Place; readonly diagnoses: ReadonlyMap<number, IceDiagnosis> }
  /** Somebody stopped the view before it started. */
  | { readonly type: 'stopped'; readonly reason: string }
  /** A member of the run `run` wants this done by all of them; told to everybody in the room. */
  | { readonly type: 'act'; readonly run: number; readonly act: Act; readonly by: Presence }
  /** A newcomer asks what our run is about, or the one whose checkpoint we keep. */
  | { readonly type: 'asked'; readonly run: number; readonly by: Presence }
  /** What a member of a run that we are not in tells about it. */
  | { readonly type: 'news'; readonly run: number; readonly body: unknown; readonly from: Presence }
  /** Who may do what has changed, or is known for the first time. */
  | { readonly type: 'rules'; readonly rules: Rules }
  /**
   * Somebody was taken out of the room for good, by somebody who may; `who` is absent when it is not here any more.
   * `rank`: its place in our current view, -1 when it has none; its presence may lie about that.
   */
  | {
      readonly type: 'removed';
      readonly id: string;
      readonly who: Presence | undefined;
      readonly rank: number;
      readonly by: Presence | undefined;
    }
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
  /** The key pair of this tab; by default a new one for this join. */
  readonly identity?: Identity;
  /** The identity whose rules hold, from the link; absent: everybody may do everything but remove others. */
  readonly owner?: string;
  readonly onEvent: (event: SessionEvent) => void;
  /** Formed as soon as enough trainers are here, by whoever is the coordinator. */
  readonly wanted?: Wanted;
  /** Why a job cannot be trained by this page. By default every job can. */
  readonly check?: CheckWish;
  /** Resolves when the worker can take channels; called for each view before any connection begins. */
  readonly prepare?: (place: Place) => Promise<void>;
  /** See PeerConnectionsOptions.adopt; by default the channels stay on the page. */
  readonly adopt?: PeerConnectionsOptions['adopt'];
  /**
   * Servers of the next connection; asked whenever one begins. By default none: tabs of one network find each other.
   */
  readonly ice?: () => IceConfig;
  /** The window; its pagehide closes the session. null: none. */
  readonly page?: Pick<EventTarget, 'addEventListener' | 'removeEventListener'> | null;
  readonly createConnections?: (options: PeerConnectionsOptions) => PeerConnections;
  readonly deadlineMs?: number;
  readonly maxAttempts?: number;
  readonly settleMs?: number;
  readonly protocolVersion?: number;
}

export interface Session {
  readonly me: Presence;
  readonly members: readonly Presence[];
  readonly coordinator: Presence | undefined;
  readonly rules: Rules;
  /** Whether this tab may. */
  may(right: Right): boolean;
  /** Says new rules, which hold as soon as they are signed; a status tells why not. The owner's only. */
  decree(rules: Rules): void;
  /** Takes the member of this address out of the room, for as long as it lives. */
  remove(address: string): void;
  /**
   * Wishes for a run: a view of it is formed when the room is free and enough trainers are here. One wish at a time.
   * Returns the number of the run.
   */
  propose(wanted: Wanted): number;
  /** Takes the wish back. */
  withdraw(): void;
  /** Our part in the current run is over after `step` steps. */
  finish(how: Ending, step: number): void;
  /** Says something anew about ourselves; see PresenceChange. */
  update(change: Pick<PresenceChange, 'name' | 'adapter' | 'software' | 'role' | 'holds'>): void;
  /** Ends the forming of a view for all its members. */
  giveUp(reason: string): void;
  /** Asks all members of our run for something, and tells the others. */
  act(act: Act): void;
  /** Asks a member of a run that we are not in what it is about; the answer is an event 'news'. */
  ask(to: string, run: number): void;
  /** Tells a member about our run, or about the one whose checkpoint we keep. */
  tell(to: string, run: number, body: unknown): void;
  /** How the packets to each rank of the current view travel: 'host', 'srflx', 'prflx', 'relay' or 'unknown'. */
  routes(): Promise<ReadonlyMap<number, string>>;
  /** Asks the connection doctor anew; the answer is an event 'connections'. */
  examine(): Promise<void>;
  /** Leaves the room and closes all connections. No event follows. */
  close(): Promise<void>;
}
