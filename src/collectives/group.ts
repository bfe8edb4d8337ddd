// A Group is a list of ranks that call the same collectives in the same order. It has only tagged send and recv; the
// collectives are free functions in the neighbouring files. It knows no GPU. Every message is entered in the ledger.
// What outlives a view, a plan say, holds a GroupRef instead: the members behind it may change (groups/rebindable.ts).

import type { PeerError } from '../base/errors.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import type { CallArguments, WireFormat } from '../transport/arguments.ts';
import type { MessageKind } from '../transport/transport.ts';

/** One collective (or point-to-point exchange) in progress: all its messages carry the same group, seq and kind. */
export interface Operation {
  readonly kind: MessageKind;
  readonly seq: number;
  /**
   * States what this rank was called with, before the first message; every frame carries it, and a peer that was called
   * with something else fails at once.
   */
  sign(call: CallArguments & { readonly dtype?: DType; readonly count?: number }): void;
  /**
   * `to` and `from` are indices within the group. `chunk` numbers the messages of this operation between this pair, per
   * direction.
   */
  send(to: number, chunk: number, data: TypedArray): Promise<void>;
  recv(from: number, chunk: number, out: TypedArray): Promise<void>;
  /**
   * Posts the recv ahead of need, so that a large message can be under way while this rank computes. Call what it
   * returns, once, when the data is needed: it resolves when `out` is filled, and deadlines count from there.
   */
  post(from: number, chunk: number, out: TypedArray): () => Promise<void>;
  recvUpTo(from: number, chunk: number, dtype: DType, maxCount: number): Promise<TypedArray>;
  /** See Group. */
  accuse(from: number, detail: string): PeerError;
}

/** What a recording may know of a group: only what stays when other members take its place. */
export interface GroupRef {
  /** For messages to people: 'dp', 'tp', 'dp x sp', 'world'. */
  readonly name: string;
  readonly size: number;
  /** The group as it is now. A step that talks asks when it runs, never when it is recorded. */
  current(): Group;
  /**
   * Own index, for what is recorded with it (which rows, which mask). From then on only a group in which this rank has
   * that index can take the place.
   */
  fixedRank(): number;
}

/** Itself a reference, to a group that stays. */
export interface Group extends GroupRef {
  /** Differs between groups of one mesh; the same on all members. */
  readonly id: number;
  /** Own index within the group. */
  readonly rank: number;
  /** Ranks of the members, in group order, as links and errors number them. */
  readonly ranks: readonly number[];
  /**
   * Starts the next operation of this group: takes its sequence number now, synchronously, so that the order of calls
   * (not of awaits) must agree on all members. `seq` overrides the counter for point-to-point streams that number their
   * own messages (pipeline microbatches); use a separate group for those.
   */
  begin(kind: MessageKind, seq?: number): Operation;
  /**
   * The next message to or from one member: counted by the two of them alone, so that it disturbs nobody's order of
   * collectives.
   */
  beginPoint(kind: MessageKind, peer: number, direction: 'to' | 'from'): Operation;
  /** The first of the next `count` numbers of the group, for messages that the caller numbers itself with them. */
  numbers(count: number): number;
  /**
   * A member sent a number that cannot be: tells all, and gives the error (evidence 'corrupt') that the caller throws.
   * `member` is an index within the group.
   */
  accuse(member: number, detail: string): PeerError;
}

/** What every collective may be told. All members must say the same. */
export interface CallOptions {
  /** The operation to use, begun earlier so that its number was taken in the order that all members agree on. */
  readonly operation?: Operation;
  /** How f32 numbers travel ('f32' unless told); error bounds in wire-format/. Integers travel as they are. */
  readonly wire?: WireFormat;
}

/**
 * Bytes by rank pair, kind and direction; payload and framing apart. Formulas are checked against payload with exact
 * equality.
 */
export interface Ledger {
  record(entry: { to: number; kind: MessageKind; group: string; payload: number; framing: number }): void;
  /** Payload bytes sent so far by kind. */
  sentByKind(): Readonly<Record<string, number>>;
}
