// The sending half of a link: cuts messages into frames, at most `windowBytes` handed to the wire and not yet sent, refilled by the wire's drain event.
// A message up to EAGER_BYTES goes at once while at most 16 MiB or 4096 of them are unconsumed at the receiver; a larger one is announced and goes when granted.
// So the receiver never buffers more than it allowed, and a send that nobody awaits yet holds up no other that somebody awaits (small before large).
// Cost: one copy of the payload per frame, into a reused buffer behind the header.

import { InternalError } from '../base/errors.ts';
import type { PeerError } from '../base/errors.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import type { Credit } from './control.ts';
import { HEADER_BYTES, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, writeHeader } from './frame.ts';
import type { Frame } from './frame.ts';
import { EAGER_BYTES, MAX_EARLY_FRAMES, bytesOf, describe, dtypeOf, keyOf, withResolvers } from './inbox.ts';
import type { Tag, Wire } from './transport.ts';

const MAX_UNCONSUMED_BYTES = 16 * 1024 * 1024;
const MAX_UNCONSUMED_MESSAGES = 4096;

interface Outgoing {
  readonly tag: Tag;
  readonly dtype: DType;
  readonly bytes: Uint8Array<ArrayBuffer>;
  offset: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export interface OutboxEvents {
  announce(tag: Tag, dtype: DType, total: number): void;
  fault(evidence: 'corrupt', detail: string): void;
  sent(payload: number, framing: number): void;
}

export class Outbox {
  readonly #wire: Wire;
  readonly #events: OutboxEvents;
  readonly #run: number;
  readonly #view: number;
  readonly #windowBytes: number;
  readonly #scratch = new Uint8Array(MAX_FRAME_BYTES);
  readonly #header = new DataView(this.#scratch.buffer);
  /** Small messages on their way, small ones that wait for credit, granted large ones, large ones that wait for a grant. */
  readonly #small: Outgoing[] = [];
  readonly #held: Outgoing[] = [];
  readonly #large: Outgoing[] = [];
  readonly #parked = new Map<string, Outgoing>();
  /** Grants that came before their send. */
  readonly #grants = new Set<string>();
  #started = { bytes: 0, messages: 0 };
  #consumed: Credit = { bytes: 0, messages: 0 };
  #open = false;
  #error: PeerError | undefined;

  constructor(wire: Wire, identity: { run: number; view: number; windowBytes: number }, events: OutboxEvents) {
    this.#wire = wire;
    this.#run = identity.run;
    this.#view = identity.view;
    this.#windowBytes = identity.windowBytes;
    this.#events = events;
  }

  send(tag: Tag, data: TypedArray): Promise<void> {
    const { promise, resolve, reject } = withResolvers<void>();
    if (this.#error) { reject(this.#error); return promise; }
    const message: Outgoing = { tag, dtype: dtypeOf(data), bytes: bytesOf(data), offset: 0, resolve, reject };
    if (message.bytes.length <= EAGER_BYTES) {
      this.#held.push(message);
      this.#spendCredit();
    } else this.#sendLarge(message);
    this.pump();
    return promise;
  }

  /** The peer is there: what waited may go. */
  open(): void {
    this.#open = true;
    this.pump();
  }

  grant(frame: Frame): void {
    const key = keyOf(frame);
    const message = this.#parked.get(key);
    if (message) {
      this.#parked.delete(key);
      this.#large.push(message);
      this.pump();
    } else if (this.#grants.has(key) || this.#grants.size >= MAX_EARLY_FRAMES) this.#events.fault('corrupt', `it asked for ${describe(frame)} too often`);
    else this.#grants.add(key);
  }

  credit(consumed: Credit): void {
    const { bytes, messages } = this.#consumed;
    if (consumed.bytes < bytes || consumed.messages < messages || consumed.bytes > this.#started.bytes || consumed.messages > this.#started.messages) {
      this.#events.fault('corrupt', `it says that it consumed ${consumed.bytes} bytes in ${consumed.messages} messages, of ${this.#started.bytes} in ${this.#started.messages}`);
      return;
    }
    this.#consumed = consumed;
    this.#spendCredit();
    this.pump();
  }

  fail(error: PeerError): void {
    this.#error = error;
    for (const message of [...this.#small, ...this.#held, ...this.#large, ...this.#parked.values()]) message.reject(error);
    this.#small.length = this.#held.length = this.#large.length = 0;
    this.#parked.clear();
    this.#grants.clear();
  }

  /** Hands frames to the wire until the window is full; called again by the wire's drain. */
  pump(): void {
    if (!this.#open || this.#error) return;
    for (;;) {
      const queue = this.#small.length > 0 ? this.#small : this.#large;
      const message = queue[0];
      if (!message) return;
      const size = Math.min(MAX_PAYLOAD_BYTES, message.bytes.length - message.offset);
      const { bufferedAmount } = this.#wire;
      if (bufferedAmount > 0 && bufferedAmount + HEADER_BYTES + size > this.#windowBytes) return;
      this.#sendFrame(message, size);
      if (message.offset < message.bytes.length) continue;
      queue.shift();
      message.resolve();
    }
  }

  #sendLarge(message: Outgoing): void {
    const key = keyOf(message.tag);
    if (this.#grants.delete(key)) { this.#large.push(message); return; }
    if (this.#parked.has(key)) { message.reject(new InternalError(`two sends of ${describe(message.tag)}`)); return; }
    this.#parked.set(key, message);
    this.#events.announce(message.tag, message.dtype, message.bytes.length);
  }

  #spendCredit(): void {
    while (this.#held.length > 0) {
      const { length } = this.#held[0]!.bytes;
      const { bytes, messages } = this.#started;
      if (bytes + length - this.#consumed.bytes > MAX_UNCONSUMED_BYTES || messages + 1 - this.#consumed.messages > MAX_UNCONSUMED_MESSAGES) return;
      this.#started = { bytes: bytes + length, messages: messages + 1 };
      this.#small.push(this.#held.shift()!);
    }
  }

  #sendFrame(message: Outgoing, size: number): void {
    const { tag, dtype, bytes, offset } = message;
    writeHeader(this.#header, {
      type: 'data', run: this.#run, view: this.#view, group: tag.group, seq: tag.seq, chunk: tag.chunk, kind: tag.kind, dtype, args: tag.args ?? 0, total: bytes.length, offset,
    });
    this.#scratch.set(bytes.subarray(offset, offset + size), HEADER_BYTES);
    this.#wire.send(this.#scratch.subarray(0, HEADER_BYTES + size));
    message.offset += size;
    this.#events.sent(size, HEADER_BYTES);
  }
}
