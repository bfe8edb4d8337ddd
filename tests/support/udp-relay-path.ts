// What a bad network does to the packets of one direction, by seed: drop, delay, jitter, overtaking, doubling, a rate
// with a bounded queue, and a cut. The rules may change at any moment. Every packet takes the same number of draws
// whatever the rules say, so that the n-th packet's fate depends on the seed, n and the rules alone.

import type { World } from '../../src/base/world.ts';
import { dice } from './dice.ts';
import type { Dice } from './dice.ts';

export interface PathRules {
  /** Shares of packets, 0 to 1. */
  readonly drop: number;
  readonly reorder: number;
  readonly duplicate: number;
  readonly delayMs: number;
  /** Further delay, drawn evenly from 0 to this; packets keep their order. */
  readonly jitterMs: number;
  /** How much later a packet comes that others may overtake. */
  readonly lateMs: number;
  /** Infinity for no limit. What would wait longer than `queueMs` is dropped, as at a full router. */
  readonly bytesPerSecond: number;
  readonly queueMs: number;
  /** Nothing passes, also of what is under way. */
  readonly cut: boolean;
}

export const CLEAR: PathRules = {
  drop: 0,
  reorder: 0,
  duplicate: 0,
  delayMs: 0,
  jitterMs: 0,
  lateMs: 15,
  bytesPerSecond: Infinity,
  queueMs: 200,
  cut: false,
};

export interface PathCounts {
  sent: number;
  delivered: number;
  dropped: number;
  overflowed: number;
  cut: number;
  late: number;
  doubled: number;
}

export class RelayPath {
  rules: PathRules = CLEAR;
  readonly counts: PathCounts = { sent: 0, delivered: 0, dropped: 0, overflowed: 0, cut: 0, late: 0, doubled: 0 };
  readonly #dice: Dice;
  readonly #world: Pick<World, 'now' | 'timer'>;
  readonly #deliver: (packet: Uint8Array) => void;
  readonly #pending = new Set<() => void>();
  /** When the last packet has left, and when the last that keeps its order arrives. */
  #busyUntil = 0;
  #lastDue = 0;

  constructor(seed: number, world: Pick<World, 'now' | 'timer'>, deliver: (packet: Uint8Array) => void) {
    this.#dice = dice(seed);
    this.#world = world;
    this.#deliver = deliver;
  }

  send(packet: Uint8Array): void {
    const { drop, reorder, duplicate, delayMs, jitterMs, lateMs, bytesPerSecond, queueMs, cut } = this.rules;
    const [lost, late, twice, jitter] = Array.from({ length: 4 }, () => this.#dice.bits() / 2 ** 32) as [
      number,
      number,
      number,
      number,
    ];
    const { counts } = this;
    const now = this.#world.now();
    counts.sent++;
    if (cut) {
      counts.cut++;
      return;
    }
    if (lost < drop) {
      counts.dropped++;
      return;
    }
    const begins = Math.max(now, this.#busyUntil);
    if (begins - now > queueMs) {
      counts.overflowed++;
      return;
    }
    this.#busyUntil = begins + (1000 * packet.length) / bytesPerSecond;
    const due = this.#busyUntil + delayMs + jitter * jitterMs;
    const inOrder = Math.max(due, this.#lastDue);
    if (late < reorder) {
      counts.late++;
      this.#after(due + lateMs - now, packet);
    } else {
      this.#lastDue = inOrder;
      this.#after(inOrder - now, packet);
    }
    if (twice < duplicate) {
      counts.doubled++;
      this.#after(inOrder - now, packet);
    }
  }

  close(): void {
    for (const cancel of this.#pending) cancel();
    this.#pending.clear();
  }

  #after(delayMs: number, packet: Uint8Array): void {
    const arrive = (): void => {
      if (this.rules.cut) {
        this.counts.cut++;
        return;
      }
      this.counts.delivered++;
      this.#deliver(packet);
    };
    // A timer would cost a clear path a millisecond per packet.
    if (delayMs <= 0) {
      arrive();
      return;
    }
    const cancel = this.#world.timer(delayMs, () => {
      this.#pending.delete(cancel);
      arrive();
    });
    this.#pending.add(cancel);
  }
}
