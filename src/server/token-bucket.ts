// An allowance that fills with time: so many at once, and so many back each second.

export class TokenBucket {
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #atMs: number;

  constructor(burst: number, perSecond: number, nowMs: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Whether `count` are left; takes them if so. */
  take(count: number, nowMs: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (Math.max(0, nowMs - this.#atMs) / 1000) * this.#perSecond);
    this.#atMs = nowMs;
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }
}

/**
 * A bucket for each key, such as an address. Forgets the longest unseen beyond `maxKeys`: a flood of keys must not fill
 * memory.
 */
export class TokenBuckets {
  readonly #known = new Map<string, TokenBucket>();
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #maxKeys: number;

  constructor(burst: number, perSecond: number, maxKeys = 10_000) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#maxKeys = maxKeys;
  }

  take(key: string, nowMs: number): boolean {
    const bucket = this.#known.get(key) ?? new TokenBucket(this.#burst, this.#perSecond, nowMs);
    // Deleted and set again, so that the map is in order of last use.
    this.#known.delete(key);
    this.#known.set(key, bucket);
    if (this.#known.size > this.#maxKeys) this.#known.delete(this.#known.keys().next().value!);
    return bucket.take(1, nowMs);
  }
}
