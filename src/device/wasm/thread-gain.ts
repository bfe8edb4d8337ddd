// Whether threads help now. On a machine that is busy with other work (other tabs that train) several threads wait for
// each other longer than they compute, so a small product is timed both ways from time to time.

import type { WasmInstance } from './instance.ts';
import type { ThreadPool } from './pool.ts';

/** Work between two measurements: some seconds of one thread. A measurement takes a few ms. */
const EVERY_WORK = 2e11;
/** The threads must be at least so much faster than one. */
const LEAST_GAIN = 1.2;
const ROUNDS = 3;
const SIZE = 96;
/** Products in a measurement: about a millisecond, which the clock of every browser can tell. */
const REPEATS = 25;

export class ThreadGain {
  readonly #pool: ThreadPool;
  readonly #instance: WasmInstance;
  readonly #now: () => number;
  readonly #room: number;
  #since = EVERY_WORK;
  #helps = true;

  constructor(pool: ThreadPool, instance: WasmInstance, now: () => number) {
    this.#pool = pool;
    this.#instance = instance;
    this.#now = now;
    this.#room = instance.probeAt;
  }

  /** Before a launch of so much work. */
  helps(work: number): boolean {
    this.#since += work;
    if (this.#since >= EVERY_WORK) {
      this.#since = 0;
      this.#helps = this.#measure();
    }
    return this.#helps;
  }

  #measure(): boolean {
    const product = this.#instance.kernels['matmul']!;
    const number = this.#pool.numberOf('matmul');
    const matrix = SIZE * SIZE * 4;
    const [a, b, out] = [this.#room, this.#room + matrix, this.#room + 2 * matrix];
    const args = [a, b, a, a, out, 1, SIZE, SIZE, SIZE, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let [alone, together] = [Infinity, Infinity];
    for (let round = 0; round < ROUNDS; round++) {
      const start = this.#now();
      for (let i = 0; i < REPEATS; i++) product(...args, 0, 1);
      const between = this.#now();
      for (let i = 0; i < REPEATS; i++) this.#pool.run(number, product, args);
      alone = Math.min(alone, between - start);
      together = Math.min(together, this.#now() - between);
    }
    return alone > LEAST_GAIN * together;
  }
}
