// Wires inside one process: each message is copied and handed over in order, in a microtask, or after a simulated delay
// and bandwidth by the World's timers. loopbackMesh joins N ranks all to all; it serves tests, the simulator and
// several ranks in one tab.

import type { World } from '../base/world.ts';
import { BaseWire, LOW_WATER_BYTES } from './base-wire.ts';
import { createLink } from './link.ts';
import type { LinkOptions } from './link.ts';
import type { Lanes, Link, Wire } from './transport.ts';

export interface LoopbackOptions {
  /** One-way delay; needs `world`. */
  readonly delayMs?: number;
  /** Bandwidth in bytes per millisecond; unlimited by default. */
  readonly bytesPerMs?: number;
  readonly world?: World;
}

class LoopbackWire extends BaseWire {
  readonly kind = 'loopback';
  readonly #options: LoopbackOptions;
  readonly #queue: (Uint8Array<ArrayBuffer> | { readonly close: string })[] = [];
  #peer: LoopbackWire | undefined;
  #buffered = 0;
  #closed = false;
  #scheduled = false;
  #busyUntil = 0;
  #lent: Uint8Array<ArrayBuffer> | undefined;

  constructor(options: LoopbackOptions) {
    super();
    this.#options = options;
  }

  get bufferedAmount(): number {
    return this.#buffered;
  }

  connect(peer: LoopbackWire): void {
    this.#peer = peer;
  }

  lend(bytes: number): Uint8Array<ArrayBuffer> {
    return (this.#lent = new Uint8Array(bytes));
  }

  send(message: Uint8Array<ArrayBuffer>): void {
    if (this.#closed) return;
    this.#buffered += message.length;
    this.#queue.push(message === this.#lent ? message : message.slice());
    this.#lent = undefined;
    this.#schedule(message.length);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.push({ close: 'the other end closed the loopback wire' });
    this.#schedule(0);
  }

  /** Ends both directions now and loses what is under way, as a crash does; neither end says a word. */
  cut(reason: string): void {
    for (const end of [this, this.#peer!]) {
      end.#closed = true;
      end.#queue.length = 0;
      end.closed(reason);
    }
  }

  #schedule(bytes: number): void {
    const { world, delayMs = 0, bytesPerMs = Infinity } = this.#options;
    if (world && (delayMs > 0 || bytesPerMs < Infinity)) {
      const now = world.now();
      this.#busyUntil = Math.max(now, this.#busyUntil) + bytes / bytesPerMs;
      world.timer(this.#busyUntil - now, () => {
        this.#sent(bytes);
        world.timer(delayMs, () => this.#handOver());
      });
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        for (let n = this.#queue.length; n > 0; n--) {
          const next = this.#queue[0];
          this.#handOver();
          if (next instanceof Uint8Array) this.#sent(next.length);
        }
      });
    }
  }

  #sent(bytes: number): void {
    const before = this.#buffered;
    this.#buffered -= bytes;
    if (before >= LOW_WATER_BYTES && this.#buffered < LOW_WATER_BYTES && !this.#closed) this.drained();
  }

  #handOver(): void {
    const next = this.#queue.shift();
    const peer = this.#peer!;
    if (next === undefined || peer.#closed) return;
    if (next instanceof Uint8Array) {
      peer.deliver(next);
      return;
    }
    peer.#closed = true;
    peer.closed(next.close);
  }
}

/** Two ends of one pipe, and `cut`, which ends it as a crash would. */
export interface LoopbackPair {
  readonly ends: readonly [Wire, Wire];
  cut(reason: string): void;
}

export function loopbackPair(options: LoopbackOptions = {}): LoopbackPair {
  const a = new LoopbackWire(options);
  const b = new LoopbackWire(options);
  a.connect(b);
  b.connect(a);
  return { ends: [a, b], cut: (reason) => a.cut(reason) };
}

export interface LoopbackMeshOptions extends Omit<LoopbackOptions, 'world'> {
  readonly run?: number;
  readonly view?: number;
  readonly link?: Partial<Pick<LinkOptions, 'silentMs' | 'heartbeatMs' | 'windowBytes' | 'deadlineMs' | 'tuneMs'>>;
  /** Wraps a wire as rank `self` sees it, to inject faults. */
  readonly wrap?: (wire: Wire, self: number, peer: number, lane: keyof Lanes) => Wire;
}

/** What one rank of a loopback mesh holds. */
export interface LoopbackNode {
  readonly rank: number;
  /** Links by the peer's rank. */
  readonly links: ReadonlyMap<number, Link>;
  /** Cuts all wires of this rank without a word, as a killed tab. */
  kill(reason?: string): void;
  /** Leaves all links in good order. */
  leave(): void;
}

/** `size` ranks in this process, each linked to all the others; index = rank. */
export function loopbackMesh(size: number, world: World, options: LoopbackMeshOptions = {}): LoopbackNode[] {
  const { run = 1, view = 1, wrap = (wire) => wire } = options;
  const links = Array.from({ length: size }, () => new Map<number, Link>());
  const pairs = Array.from({ length: size }, () => [] as LoopbackPair[]);
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const [control, bulk, latency] = [0, 1, 2].map(() => loopbackPair({ ...options, world })) as [
        LoopbackPair,
        LoopbackPair,
        LoopbackPair,
      ];
      pairs[a]!.push(control, bulk, latency);
      pairs[b]!.push(control, bulk, latency);
      for (const [end, self, peer] of [
        [0, a, b],
        [1, b, a],
      ] as const) {
        const lanes: Lanes = {
          control: wrap(control.ends[end], self, peer, 'control'),
          bulk: wrap(bulk.ends[end], self, peer, 'bulk'),
          latency: wrap(latency.ends[end], self, peer, 'latency'),
        };
        links[self]!.set(peer, createLink({ lanes, peer, self, run, view, world, worldSize: size, ...options.link }));
      }
    }
  }
  return links.map((own, rank) => ({
    rank,
    links: own,
    kill: (reason = 'the loopback wire was cut') => {
      for (const pair of pairs[rank]!) pair.cut(reason);
    },
    leave: () => {
      for (const link of own.values()) link.leave();
    },
  }));
}
