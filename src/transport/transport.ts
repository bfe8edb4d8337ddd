// Links between ranks. A Wire moves opaque messages of at most 256 KiB in order (data channel, message port, in-process
// queue); a Link, the same code over every wire, adds frames, tags, chunking, backpressure, heartbeats and named
// failures.
//
// Rules. A message is matched by (group, seq, chunk); its signature (kind, dtype, count, arguments) must equal what the
// receiver expects, otherwise both sides' signatures are printed at once. A length field is never trusted beyond what
// the receiver expects. A frame of another run or view is counted and dropped, and too many of them are a breach
// (measure/strikes.ts). A peer is dead when its wire closes, or when nothing of this view (heartbeats included) came
// from it for `silentMs`. Abort is local, then told to the others.

import type { DType, TypedArray } from '../base/shape.ts';
import type { PeerError } from '../base/errors.ts';

/** An ordered, reliable pipe of messages. Implementations: loopback.ts, message-port.ts, webrtc.ts. */
export interface Wire {
  /**
   * Sends one message; the bytes may be reused after the call returns, unless `lend` gave them. Ignored when closed.
   */
  send(message: Uint8Array<ArrayBuffer>): void;
  /**
   * A buffer to be filled and passed to the next `send`, which gives it away without a copy. Absent where the wire
   * copies anyway.
   */
  lend?(bytes: number): Uint8Array<ArrayBuffer>;
  /** Bytes accepted by `send` but not yet on the wire. */
  readonly bufferedAmount: number;
  /** Called when bufferedAmount has fallen below `lowWater`. */
  onDrain: (() => void) | undefined;
  onMessage: ((message: Uint8Array<ArrayBuffer>) => void) | undefined;
  /** `broken`: the other end did what no sound one does, so it is not just gone. */
  onClose: ((reason: string, broken?: boolean) => void) | undefined;
  close(): void;
  /** What the pipe is made of, for people: 'loopback', 'webrtc worker', 'webrtc relay', 'message-port'. */
  readonly kind: string;
}

/**
 * The lanes to one peer: control never waits behind data; messages of at most 16 KiB go by `latency`, if there is one,
 * and never wait behind bulk. Both ends must have the same lanes. One wire may serve as several. (One bulk wire, since
 * striping over channels or connections gained nothing: see tune-link.ts.)
 */
export interface Lanes {
  readonly control: Wire;
  readonly bulk: Wire;
  readonly latency?: Wire;
}

export const MESSAGE_KINDS = [
  'broadcast',
  'ring-send',
  'all-gather',
  'reduce-scatter',
  'all-reduce',
  'all-to-all',
  'barrier',
  'activation',
  'gradient',
  'gather',
  'tied',
  'scalar',
  'send',
  'scatter',
  'sparse-all-gather',
  'sparse-reduce-scatter',
  'reduce',
] as const;
export type MessageKind = (typeof MESSAGE_KINDS)[number];

/** Identifies one message between two ranks of one view, and what both sides believe it to be. */
export interface Tag {
  /** Group.id; keeps the streams of different groups apart. */
  readonly group: number;
  /** Number of the operation within the group; both sides count alike. */
  readonly seq: number;
  /** Number of the message within the operation. */
  readonly chunk: number;
  readonly kind: MessageKind;
  /** What else both sides must agree on (arguments.ts); 0 when absent. */
  readonly args?: number;
}

/** One directed pair of ranks. */
/** What this rank was called with. */
export type Called = Required<Pick<Tag, 'group' | 'seq' | 'kind' | 'args'>>;

/** Chunk of messages between two ranks alone, whose numbers they count apart from those of the group. */
export const POINT_CHUNK = 0xffffffff;

export interface Link {
  /** Rank of the peer. */
  readonly peer: number;
  /** What the wire is made of. */
  readonly kind: string;
  /**
   * Resolves when the bytes have been handed to the wire (backpressure); `data` may be reused then. Rejects with
   * PeerError when the link fails.
   */
  send(tag: Tag, data: TypedArray): Promise<void>;
  /**
   * Resolves when `out` is filled. Rejects with PeerError (closed, silent, wrong-signature, corrupt, or the culprit of
   * an abort). One recv per tag.
   */
  recv(tag: Tag, out: TypedArray): Promise<void>;
  /**
   * Posts the recv of `tag` ahead of need: a large message may come from now on, but nobody waits for it, and no
   * deadline counts, until the function that it returns is called, which then is that recv. Call it once.
   */
  post(tag: Tag, out: TypedArray): () => Promise<void>;
  /** Like recv, for a count that only the sender knows, at most `maxCount` elements. */
  recvUpTo(tag: Tag, dtype: DType, maxCount: number): Promise<TypedArray>;
  /**
   * A message of this operation that says otherwise fails at once, though nobody here may await it: two ranks that both
   * only send would never notice.
   */
  note(called: Called): void;
  /** Resolves once with the reason when the link fails; never rejects. */
  readonly failed: Promise<PeerError>;
  /** Tells the peer who failed, fails everything in flight with `error`, closes the wire. */
  abort(error: PeerError): void;
  /** Says `leaving` and closes; the peer's pending operations fail with evidence 'left'. */
  leave(): void;
  /**
   * From now on the peer counts as dead after `silentMs` without a sign of life. For phases in which threads compute
   * long without a turn: all ranks widen it before any of them begins, and take it back when all are through.
   */
  allowSilence(silentMs: number): void;
  readonly stats: LinkStats;
  /**
   * Resolves when the tuner is done, or there is none, or the link has failed. Heavy work before that would be measured
   * too.
   */
  readonly tuned: Promise<void>;
  /** How the bytes travel and how fast; computed when asked. */
  report(): LinkReport;
}

/** direct and relayed: over the network; same browser: by ports or BroadcastChannel; unknown where nobody has told. */
export type LinkRoute = 'direct' | 'relayed' | 'same browser' | 'unknown';

export interface Throughput {
  /** MB/s (10^6 bytes) that the tuner measured; NaN when it did not. */
  readonly probed: number;
  /** MB/s of real traffic while it flowed, smoothed; NaN before. */
  readonly observed: number;
}

export interface LinkReport {
  readonly peer: number;
  /** What the wire is made of. */
  readonly kind: string;
  readonly route: LinkRoute;
  /** Kind of the ICE candidate: host, srflx, prflx or relay; what the wire is made of where there is no ICE. */
  readonly path: string;
  readonly roundTripMs: number;
  readonly sending: Throughput;
  readonly receiving: Throughput;
  /** Bytes of a frame, and most bytes handed to the wire and not yet sent, in our direction. */
  readonly frameBytes: number;
  readonly windowBytes: number;
}

export interface LinkStats {
  readonly payloadSent: number;
  readonly framingSent: number;
  readonly payloadReceived: number;
  readonly framingReceived: number;
  /** Frames dropped because their run or view is not ours. */
  readonly dropped: number;
  /** Round trip of the last heartbeat, ms. */
  readonly roundTripMs: number;
  /** Rank that the peer itself waits for, by its last heartbeat; undefined when it waits for nobody. */
  readonly peerWaitsFor: number | undefined;
}
