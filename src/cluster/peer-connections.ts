// What a session needs from the thing that connects the members of a view: start or replace a connection, take a
// signal, give the lanes, close. webrtc-connections.ts is the one over WebRTC; tests of the session pass a fake and
// need no browser.

import type { IceDiagnosis } from './ice/diagnosis.ts';
import type { IceConfig } from './ice/servers.ts';
import type { IceSignal, LinkState } from './messages.ts';

/** The raw channels to one peer, before the transport wraps them. */
export interface ChannelLanes {
  readonly control: RTCDataChannel;
  readonly bulk: RTCDataChannel;
  readonly latency?: RTCDataChannel;
}

export interface ConnectTo {
  readonly peer: number;
  readonly attempt: number;
}

export interface PeerConnectionsOptions {
  /** Names the view among all that there are: the same words for all its members, and known to them alone. */
  readonly name?: string;
  /** Own rank in the view. */
  readonly rank: number;
  /** Asked when a connection begins. */
  readonly ice: () => IceConfig;
  /** Milliseconds of any clock that only goes forward. */
  readonly now: () => number;
  /**
   * Takes the fresh, still closed channels to one peer; called synchronously in the task that created them, so that
   * they can be transferred to a worker. Resolves when all are open (the worker says so). Called again, with new
   * channels, when a connection is tried again.
   */
  readonly adopt: (peer: number, lanes: ChannelLanes) => Promise<void>;
  readonly onLink: (peer: number, state: LinkState) => void;
  readonly onSignal: (peer: number, attempt: number, data: IceSignal) => void;
  /** Addresses of the members by rank. */
  readonly members?: readonly string[];
  /**
   * Tells the worker that a peer did what no sound one does, in a sentence; resolves when it has heard, and the
   * connection may end.
   */
  readonly accuse?: (peer: number, what: string) => Promise<void>;
}

export interface PeerConnections {
  /** Ignored when this or a later attempt is under way. */
  connect(to: ConnectTo): void;
  signal(peer: number, attempt: number, data: IceSignal): void;
  /** The channels to each rank; useless here when `adopt` transferred them. */
  lanes(): ReadonlyMap<number, ChannelLanes>;
  /** How the packets to each rank travel: 'host', 'srflx', 'prflx', 'relay', 'same browser' or 'unknown'. */
  routes(): Promise<ReadonlyMap<number, string>>;
  /** What the doctor says of the last attempt to each rank; looked up now. */
  examine(): Promise<ReadonlyMap<number, IceDiagnosis>>;
  close(): void;
}
