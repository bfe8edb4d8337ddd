// The receiving half of a link: matches data frames with the receives that await them and copies each payload once,
// straight into the caller's array. Rules. A message of more than EAGER_BYTES is sent only when granted, so only small
// ones can come before their receive; those wait here, at most 32 MiB and 8192 frames from one peer. Nothing is ever
// allocated from a length that the peer names unless a receive has allowed that much.

import { InternalError } from '../base/errors.ts';
import type { Evidence, PeerError } from '../base/errors.ts';
import { typedView } from '../base/shape.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import { describeArguments } from './arguments.ts';
import type { Credit } from './control.ts';
import { HEADER_BYTES } from './frame.ts';
import type { Frame } from './frame.ts';
import { POINT_CHUNK } from './transport.ts';
import type { Called, Tag } from './transport.ts';

/** Messages up to this size are sent without asking. */
export const EAGER_BYTES = 256 * 1024;
/** What one peer may send ahead of our receives; beyond it the peer breaks the rules. */
export const MAX_EARLY_BYTES = 32 * 1024 * 1024;
export const MAX_EARLY_FRAMES = 8192;
/** Operations whose calls are kept to be compared with messages that nobody awaits. */
const MAX_NOTED = 1024;
/** A credit is sent after so much was consumed. */
const CREDIT_BYTES = 1024 * 1024;
const CREDIT_MESSAGES = 256;

export interface InboxEvents {
  /** The peer broke a rule; the link must fail. */
  fault(evidence: Evidence, detail: string): void;
  grant(tag: Tag, dtype: DType, total: number): void;
  credit(consumed: Credit): void;
  now(): number;
}

interface Expected {
  readonly tag: Tag;
  readonly dtype: DType;
  readonly maxBytes: number;
  /** When this rank began to wait for it; undefined while it is only posted. */
  since: number | undefined;
  /** The count is known (recv), not only bounded (recvUpTo). */
  readonly exact: boolean;
  /** Undefined until the first frame tells the size (recvUpTo). */
  out: TypedArray | undefined;
  bytes: Uint8Array<ArrayBuffer> | undefined;
  received: number;
  granted: boolean;
  readonly resolve: (out: TypedArray) => void;
  readonly reject: (error: Error) => void;
}

interface Early {
  readonly first: Frame;
  readonly payloads: Uint8Array<ArrayBuffer>[];
  received: number;
  complete: boolean;
}

export class Inbox {
  readonly #events: InboxEvents;
  readonly #self: number;
  readonly #peer: number;
  readonly #expected = new Map<string, Expected>();
  readonly #early = new Map<string, Early>();
  readonly #noted = new Map<string, Called>();
  #earlyBytes = 0;
  #earlyFrames = 0;
  #consumed = { bytes: 0, messages: 0 };
  #told = { bytes: 0, messages: 0 };
  #error: PeerError | undefined;

  constructor(self: number, peer: number, events: InboxEvents) {
    this.#self = self;
    this.#peer = peer;
    this.#events = events;
  }

  /** `ahead`: nobody waits for it before `awaited`. */
  recv(tag: Tag, out: TypedArray, ahead = false): Promise<TypedArray> {
    return this.#await(tag, dtypeOf(out), out.byteLength, out, ahead);
  }

  /** From now on this rank waits for what it has posted ahead; nothing if that has come. */
  awaited(tag: Tag): void {
    const expected = this.#expected.get(keyOf(tag));
    if (expected) expected.since ??= this.#events.now();
  }

  recvUpTo(tag: Tag, dtype: DType, maxCount: number): Promise<TypedArray> {
    return this.#await(tag, dtype, 4 * maxCount, undefined);
  }

  note(called: Called): void {
    const { group, seq } = called;
    const key = `${group}:${seq}`;
    this.#noted.set(key, called);
    if (this.#noted.size > MAX_NOTED) this.#noted.delete(this.#noted.keys().next().value!);
    for (const { first } of this.#early.values())
      if (first.group === group && first.seq === seq && this.#contradicts(first)) return;
  }

  /** Bytes and frames held for receives that nobody has posted. */
  get early(): { readonly bytes: number; readonly frames: number } {
    return { bytes: this.#earlyBytes, frames: this.#earlyFrames };
  }

  data(frame: Frame): void {
    const key = keyOf(frame);
    const expected = this.#expected.get(key);
    if (expected) this.#accept(key, expected, frame, frame.payload);
    else this.#keep(key, frame);
  }

  /** The peer has a large message and waits for our grant. */
  announce(frame: Frame): void {
    if (frame.total <= EAGER_BYTES) {
      this.#events.fault('corrupt', `it announced a message of ${frame.total} bytes, which needs no announcement`);
      return;
    }
    const key = keyOf(frame);
    const expected = this.#expected.get(key);
    if (expected) {
      if (this.#agrees(expected, frame)) this.#grant(expected, frame.total);
    } else if (this.#early.has(key)) this.#events.fault('corrupt', `it announced ${describe(frame)} twice`);
    else this.#hold(key, frame);
  }

  /** The receive that has waited longest, for the deadline. */
  oldest(): { readonly tag: Tag; readonly since: number; readonly signature: string } | undefined {
    let first: Expected | undefined;
    let since = Infinity;
    for (const expected of this.#expected.values()) {
      if (expected.since === undefined || expected.since >= since) continue;
      first = expected;
      since = expected.since;
    }
    return first && { tag: first.tag, since, signature: signatureOf(first.tag, first.dtype, first.maxBytes) };
  }

  /** So many milliseconds of every wait so far were our own doing. */
  excuse(ms: number): void {
    const now = this.#events.now();
    for (const expected of this.#expected.values())
      if (expected.since !== undefined) expected.since = Math.min(now, expected.since + ms);
  }

  /** Rejects everything awaited. After `left`, messages that arrived whole can still be received. */
  fail(error: PeerError): void {
    this.#error = error;
    for (const expected of this.#expected.values()) expected.reject(error);
    this.#expected.clear();
    if (error.evidence !== 'left') this.#early.clear();
  }

  #await(tag: Tag, dtype: DType, maxBytes: number, out: TypedArray | undefined, ahead = false): Promise<TypedArray> {
    const { promise, resolve, reject } = withResolvers<TypedArray>();
    const key = keyOf(tag);
    const early = this.#early.get(key);
    if (this.#error && !early?.complete) {
      reject(this.#error);
      return promise;
    }
    if (this.#expected.has(key)) {
      reject(new InternalError(`two receives of ${describe(tag)} from rank ${this.#peer}`));
      return promise;
    }
    const expected: Expected = {
      tag,
      dtype,
      maxBytes,
      since: ahead ? undefined : this.#events.now(),
      exact: out !== undefined,
      out,
      bytes: out && bytesOf(out),
      received: 0,
      granted: false,
      resolve,
      reject,
    };
    this.#expected.set(key, expected);
    if (early) this.#release(key, early, expected);
    else if (out && maxBytes > EAGER_BYTES) this.#grant(expected, maxBytes);
    return promise;
  }

  /** Feeds a new receive with what came before it. */
  #release(key: string, early: Early, expected: Expected): void {
    this.#early.delete(key);
    this.#earlyFrames -= Math.max(1, early.payloads.length);
    for (const payload of early.payloads) this.#earlyBytes -= payload.length + HEADER_BYTES;
    if (!this.#agrees(expected, early.first)) return;
    if (early.first.type === 'announce') this.#grant(expected, early.first.total);
    for (const payload of early.payloads)
      this.#accept(key, expected, { ...early.first, offset: expected.received }, payload);
  }

  #keep(key: string, frame: Frame): void {
    if (frame.total > EAGER_BYTES) {
      this.#events.fault('corrupt', `it sent ${describe(frame)} of ${frame.total} bytes, which nobody asked for`);
      return;
    }
    const early = this.#early.get(key);
    if (!early) {
      this.#hold(key, frame);
      return;
    }
    const { first } = early;
    if (
      early.complete ||
      first.type === 'announce' ||
      frame.offset !== early.received ||
      frame.total !== first.total ||
      frame.kind !== first.kind ||
      frame.dtype !== first.dtype ||
      frame.args !== first.args
    ) {
      this.#events.fault('corrupt', `it sent ${describe(frame)} again or out of order`);
      return;
    }
    early.payloads.push(frame.payload);
    early.received += frame.payload.length;
    early.complete = early.received === frame.total;
    this.#count(frame);
  }

  #hold(key: string, frame: Frame): void {
    const isData = frame.type === 'data';
    if (this.#contradicts(frame)) return;
    if (isData && frame.offset !== 0) {
      this.#events.fault('corrupt', `${describe(frame)} begins at byte ${frame.offset}`);
      return;
    }
    this.#early.set(key, {
      first: frame,
      payloads: isData ? [frame.payload] : [],
      received: frame.payload.length,
      complete: isData && frame.payload.length === frame.total,
    });
    this.#count(frame);
  }

  /**
   * Whether a message that nobody awaits belongs to an operation that this rank was called with otherwise; then the
   * link fails.
   */
  #contradicts(frame: Frame): boolean {
    const called = frame.chunk === POINT_CHUNK ? undefined : this.#noted.get(`${frame.group}:${frame.seq}`);
    if (!called || (called.kind === frame.kind && called.args === frame.args)) return false;
    this.#events.fault(
      'wrong-signature',
      `group ${frame.group}, operation ${frame.seq}: rank ${this.#self} called ${called.kind}${argumentsOf(called)}, rank ${this.#peer} sent ${signatureOf(frame, frame.dtype, frame.total)}; all ranks must call the same collectives in the same order`,
    );
    return true;
  }

  #count(frame: Frame): void {
    this.#earlyFrames++;
    if (frame.type === 'data') this.#earlyBytes += frame.payload.length + HEADER_BYTES;
    if (this.#earlyBytes > MAX_EARLY_BYTES || this.#earlyFrames > MAX_EARLY_FRAMES) {
      this.#events.fault(
        'corrupt',
        `it sent ${this.#earlyBytes} bytes in ${this.#earlyFrames} frames that nobody awaits; at most ${MAX_EARLY_BYTES} bytes and ${MAX_EARLY_FRAMES} frames are kept`,
      );
    }
  }

  #agrees({ tag, dtype, maxBytes, exact }: Expected, frame: Frame): boolean {
    if (
      frame.kind === tag.kind &&
      frame.dtype === dtype &&
      frame.args === (tag.args ?? 0) &&
      (exact ? frame.total === maxBytes : frame.total <= maxBytes)
    )
      return true;
    const ours = exact
      ? signatureOf(tag, dtype, maxBytes)
      : `${tag.kind} ${dtype}[at most ${maxBytes / 4}]${argumentsOf(tag)}`;
    this.#events.fault(
      'wrong-signature',
      `${describe(tag)}: rank ${this.#self} expected ${ours}, rank ${this.#peer} sent ${signatureOf(frame, frame.dtype, frame.total)}; all ranks must call the same collectives in the same order`,
    );
    return false;
  }

  #grant(expected: Expected, total: number): void {
    if (expected.granted) return;
    expected.granted = true;
    this.#events.grant(expected.tag, expected.dtype, total);
  }

  #accept(key: string, expected: Expected, frame: Frame, payload: Uint8Array<ArrayBuffer>): void {
    if (!this.#agrees(expected, frame)) return;
    if (frame.offset !== expected.received || (expected.bytes && frame.total !== expected.bytes.length)) {
      this.#events.fault(
        'corrupt',
        `${describe(frame)}: expected byte ${expected.received}, got byte ${frame.offset} of ${frame.total}`,
      );
      return;
    }
    if (frame.total > EAGER_BYTES && !expected.granted) {
      this.#events.fault('corrupt', `it sent ${describe(frame)} of ${frame.total} bytes before it was asked for`);
      return;
    }
    if (!expected.out || !expected.bytes) {
      expected.out = typedView(expected.dtype, new ArrayBuffer(frame.total));
      expected.bytes = bytesOf(expected.out);
    }
    expected.bytes.set(payload, expected.received);
    expected.received += payload.length;
    if (expected.received < frame.total) return;
    this.#expected.delete(key);
    if (frame.total <= EAGER_BYTES) this.#consume(frame.total);
    expected.resolve(expected.out);
  }

  #consume(bytes: number): void {
    this.#consumed = { bytes: this.#consumed.bytes + bytes, messages: this.#consumed.messages + 1 };
    if (
      this.#consumed.bytes - this.#told.bytes < CREDIT_BYTES &&
      this.#consumed.messages - this.#told.messages < CREDIT_MESSAGES
    )
      return;
    this.#told = this.#consumed;
    this.#events.credit(this.#consumed);
  }
}

export function keyOf({ group, seq, chunk }: { group: number; seq: number; chunk: number }): string {
  return `${group}:${seq}:${chunk}`;
}

export function describe({ group, seq, chunk }: { group: number; seq: number; chunk: number }): string {
  return `group ${group}, operation ${seq}, message ${chunk}`;
}

export function signatureOf(tag: { kind: string; args?: number }, dtype: DType, bytes: number): string {
  return `${tag.kind} ${dtype}[${bytes / 4}]${argumentsOf(tag)}`;
}

function argumentsOf({ args }: { args?: number }): string {
  return args ? ` (${describeArguments(args)})` : '';
}

export function dtypeOf(array: TypedArray): DType {
  if (array instanceof Float32Array) return 'f32';
  return array instanceof Uint32Array ? 'u32' : 'i32';
}

export function bytesOf(array: TypedArray): Uint8Array<ArrayBuffer> {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/**
 * A promise with its ends. Its rejection counts as handled: the link's `failed` names every failure, and an operation
 * that has already failed elsewhere awaits no further messages.
 */
export function withResolvers<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: Error) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
