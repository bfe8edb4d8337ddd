// MB/s of real traffic: bytes over time while they flow. A stretch of flow ends with a pause; what comes at its first
// instant is not counted, for its time is not known.

const PAUSE_MS = 50;
const LEAST_BYTES = 256 * 1024;
const LEAST_MS = 5;
/** Weight of the newest stretch, which is long enough to count. */
const NEW = 0.5;

export class RateMeter {
  #startMs = -Infinity;
  #lastMs = -Infinity;
  #bytes = 0;
  #mbs = NaN;

  /** MB/s, smoothed over stretches of at least 256 KiB and 5 ms; NaN before the first. */
  get mbs(): number {
    return this.#mbs;
  }

  add(bytes: number, nowMs: number): void {
    if (nowMs - this.#lastMs > PAUSE_MS) this.#restart(nowMs);
    else if (nowMs > this.#startMs) this.#bytes += bytes;
    this.#lastMs = nowMs;
    const ms = nowMs - this.#startMs;
    if (this.#bytes < LEAST_BYTES || ms < LEAST_MS) return;
    const mbs = this.#bytes / ms / 1000;
    this.#mbs = Number.isNaN(this.#mbs) ? mbs : NEW * mbs + (1 - NEW) * this.#mbs;
    this.#restart(nowMs);
  }

  #restart(nowMs: number): void {
    this.#startMs = nowMs;
    this.#bytes = 0;
  }
}
