// The sending half of a link: cuts messages into frames, at most `windowBytes` handed to the wire and not yet sent,
// refilled by the wire's drain event. A message up to EAGER_BYTES goes at once while at most 16 MiB or 4096 of them are
// unconsumed at the receiver; a larger one is announced and goes when granted. So the receiver never buffers more than
// it allowed, and a send that nobody awaits yet holds up no other that somebody awaits (small before large). A tiny
// message, up to TINY_BYTES, goes by the latency lane if there is one and first by the bulk lane if not; so it never
// waits behind frames of others, nor, up to 4 MiB of such, for their credit.
// Cost: one copy of the payload per frame, behind the header: into a buffer that the wire lends and gives away, or into
// one that is used again.

import { InternalError } from '../base/errors.ts';
import type { PeerError } from '../base/errors.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import type { Credit } from './control.ts';
import { HEADER_BYTES, writeHeader } from './frame.ts';
import type { Frame } from './frame.ts';
import { EAGER_BYTES, MAX_EARLY_FRAMES, bytesOf, describe, dtypeOf, keyOf, withResolvers } from './inbox.ts';
import type { Tag, Wire } from './transport.ts';
import type { Framing } from './tune-link.ts';

/** Largest message of the latency lane. */
export const TINY_BYTES = 16 * 1024;
/**
 * What may be unconsumed at the receiver, of all and of others than tiny messages; well within what it takes
 * (inbox.ts).
 */
const MAX_UNCONSUMED = { bytes: 20 * 1024 * 1024, messages: 4096 } as const;
const MAX_UNCONSUMED_SMALL = { bytes: 16 * 1024 * 1024, messages: 3072 } as const;
/** Of the latency lane: the low-water mark and four messages. */
const LATENCY_WINDOW_BYTES = 128 * 1024;

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
  readonly #bulk: Wire;
  readonly #latency: Wire | undefined;
  readonly #events: OutboxEvents;
  readonly #run: number;
  readonly #view: number;
  #framing: Framing;
  #scratch: Uint8Array<ArrayBuffer>;
  /**
   * Tiny and small messages on their way, those that wait for credit, granted large ones, large ones that wait for a
   * grant.
   */
  readonly #tiny: Outgoing[] = [];
  readonly #small: Outgoing[] = [];
  readonly #heldTiny: Outgoing[] = [];
  readonly #held: Outgoing[] = [];
  readonly #large: Outgoing[] = [];
  readonly #parked = new Map<string, Outgoing>();
  /** Grants that came before their send. */
  readonly #grants = new Set<string>();
  #started = { bytes: 0, messages: 0 };
  #consumed: Credit = { bytes: 0, messages: 0 };
  #open: 'no' | 'latency' | 'all' = 'no';
  #error: PeerError | undefined;

  constructor(
    lanes: { readonly bulk: Wire; readonly latency?: Wire | undefined },
    identity: { run: number; view: number; framing: Framing },
    events: OutboxEvents,
  ) {
    this.#bulk = lanes.bulk;
    this.#latency = lanes.latency;
    this.#run = identity.run;
    this.#view = identity.view;
    this.#framing = identity.framing;
    this.#scratch = new Uint8Array(identity.framing.frameBytes);
    this.#events = events;
  }

  /** Frame size and window from the next frame on. */
  use(framing: Framing): void {
    this.#framing = framing;
    this.#scratch = new Uint8Array(framing.frameBytes);
  }

  get framing(): Framing {
    return this.#framing;
  }

  send(tag: Tag, data: TypedArray): Promise<void> {
    const { promise, resolve, reject } = withResolvers<void>();
    if (this.#error) {
      reject(this.#error);
      return promise;
    }
    const message: Outgoing = { tag, dtype: dtypeOf(data), bytes: bytesOf(data), offset: 0, resolve, reject };
    if (message.bytes.length <= EAGER_BYTES) {
      (message.bytes.length <= TINY_BYTES ? this.#heldTiny : this.#held).push(message);
      this.#spendCredit();
    } else this.#sendLarge(message);
    this.pump();
    return promise;
  }

  /** The peer is there: what waited may go. `latency`: not yet by the bulk lane. */
  open(lanes: 'latency' | 'all'): void {
    this.#open = lanes;
    this.pump();
  }

  grant(frame: Frame): void {
    const key = keyOf(frame);
    const message = this.#parked.get(key);
    if (message) {
      this.#parked.delete(key);
      this.#large.push(message);
      this.pump();
    } else if (this.#grants.has(key) || this.#grants.size >= MAX_EARLY_FRAMES)
      this.#events.fault('corrupt', `it asked for ${describe(frame)} too often`);
    else this.#grants.add(key);
  }

  credit(consumed: Credit): void {
    const { bytes, messages } = this.#consumed;
    // A credit that gives nothing serves nothing: the receiver tells only of what it has consumed since.
    if (
      consumed.bytes < bytes ||
      consumed.messages <= messages ||
      consumed.bytes > this.#started.bytes ||
      consumed.messages > this.#started.messages
    ) {
      this.#events.fault(
        'corrupt',
        `it says that it consumed ${consumed.bytes} bytes in ${consumed.messages} messages, of ${this.#started.bytes} in ${this.#started.messages}`,
      );
      return;
    }
    this.#consumed = consumed;
    this.#spendCredit();
    this.pump();
  }

  fail(error: PeerError): void {
    this.#error = error;
    for (const message of [
      ...this.#tiny,
      ...this.#small,
      ...this.#heldTiny,
      ...this.#held,
      ...this.#large,
      ...this.#parked.values(),
    ])
      message.reject(error);
    this.#tiny.length = this.#small.length = this.#heldTiny.length = this.#held.length = this.#large.length = 0;
    this.#parked.clear();
    this.#grants.clear();
  }

  /** Hands frames to the wires until their windows are full; called again by their drains. */
  pump(): void {
    if (this.#open === 'no' || this.#error) return;
    const { windowBytes } = this.#framing;
    if (this.#latency) this.#drain(this.#latency, LATENCY_WINDOW_BYTES, [this.#tiny]);
    if (this.#open === 'all')
      this.#drain(
        this.#bulk,
        windowBytes,
        this.#latency ? [this.#small, this.#large] : [this.#tiny, this.#small, this.#large],
      );
  }

  #drain(wire: Wire, windowBytes: number, queues: readonly Outgoing[][]): void {
    const most = this.#framing.frameBytes - HEADER_BYTES;
    for (;;) {
      const queue = queues.find((waiting) => waiting.length > 0);
      const message = queue?.[0];
      if (!queue || !message) return;
      const size = Math.min(most, message.bytes.length - message.offset);
      const { bufferedAmount } = wire;
      if (bufferedAmount > 0 && bufferedAmount + HEADER_BYTES + size > windowBytes) return;
      this.#sendFrame(wire, message, size);
      if (message.offset < message.bytes.length) continue;
      queue.shift();
      message.resolve();
    }
  }

  #sendLarge(message: Outgoing): void {
    const key = keyOf(message.tag);
    if (this.#grants.delete(key)) {
      this.#large.push(message);
      return;
    }
    if (this.#parked.has(key)) {
      message.reject(new InternalError(`two sends of ${describe(message.tag)}`));
      return;
    }
    this.#parked.set(key, message);
    this.#events.announce(message.tag, message.dtype, message.bytes.length);
  }

  #spendCredit(): void {
    this.#release(this.#heldTiny, this.#tiny, MAX_UNCONSUMED);
    this.#release(this.#held, this.#small, MAX_UNCONSUMED_SMALL);
  }

  #release(held: Outgoing[], queue: Outgoing[], limit: Credit): void {
    while (held.length > 0) {
      const { length } = held[0]!.bytes;
      const { bytes, messages } = this.#started;
      if (
        bytes + length - this.#consumed.bytes > limit.bytes ||
        messages + 1 - this.#consumed.messages > limit.messages
      )
        return;
      this.#started = { bytes: bytes + length, messages: messages + 1 };
      queue.push(held.shift()!);
    }
  }

  #sendFrame(wire: Wire, message: Outgoing, size: number): void {
    const { tag, dtype, bytes, offset } = message;
    const frame = wire.lend?.(HEADER_BYTES + size) ?? this.#scratch.subarray(0, HEADER_BYTES + size);
    writeHeader(new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES), {
      type: 'data',
      run: this.#run,
      view: this.#view,
      group: tag.group,
      seq: tag.seq,
      chunk: tag.chunk,
      kind: tag.kind,
      dtype,
      args: tag.args ?? 0,
      total: bytes.length,
      offset,
    });
    frame.set(bytes.subarray(offset, offset + size), HEADER_BYTES);
    wire.send(frame);
    message.offset += size;
    this.#events.sent(size, HEADER_BYTES);
  }
}
