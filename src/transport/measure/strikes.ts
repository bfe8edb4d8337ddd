// How much of what serves nothing a peer may send. A few such frames are normal: what was on its way when the view
// changed, heartbeats that waited in a queue. A flood keeps this tab from its work, and is a breach like any other.
// Counted by a bucket that leaks with time, so that little, for however long, stays little.

export interface StrikeLimit {
  /** So many at once. */
  readonly most: number;
  /** So many a second are forgiven. */
  readonly perSecond: number;
}

/** Frames of another run or view: two windows full of the smallest messages may be on their way when a view changes. */
export const STALE: StrikeLimit = { most: 4096, perSecond: 10 };
/** Frames of this view that say again what was said, or answer what was not asked. */
export const IDLE: StrikeLimit = { most: 32, perSecond: 1 };

/**
 * Heartbeats come one every `heartbeatMs`, four times as many from a peer of other settings, and those of one silence
 * at once when this tab was asleep.
 */
export function heartbeatLimit(heartbeatMs: number, silentMs: number): StrikeLimit {
  const within = Math.min(silentMs, 3_600_000) / heartbeatMs;
  return { most: Math.ceil(256 + 2 * within), perSecond: Math.max(20, 4000 / heartbeatMs) };
}

export class Strikes {
  readonly limit: StrikeLimit;
  #level = 0;
  #lastMs = -Infinity;

  constructor(limit: StrikeLimit) {
    this.limit = limit;
  }

  /** One more; true when they are too many. */
  add(nowMs: number): boolean {
    const forgiven = (Math.max(0, nowMs - this.#lastMs) / 1000) * this.limit.perSecond;
    this.#level = Math.max(0, this.#level - forgiven) + 1;
    this.#lastMs = Math.max(this.#lastMs, nowMs);
    return this.#level > this.limit.most;
  }
}
