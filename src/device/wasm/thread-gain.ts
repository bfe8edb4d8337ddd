// Whether threads help now. On a machine that is busy with other work (other tabs that train) several threads wait for
// each other longer than they compute, so a small product is timed both ways from time to time.

import type { WasmInstance } from './instance.ts';
import type { World } from '../../base/world.ts';
import type { ThreadPool } from './pool.ts';

/** Work between two measurements: some seconds of one thread. A measurement takes a few ms. */
const EVERY_WORK = 2e11;
/** The threads must be at least so much faster than one. */
const LEAST_GAIN = 1.2;
const ROUNDS = 3;
const SIZE = 96;
/** Products in a measurement: about a millisecond, which the clock of every browser can tell. */
const REPEATS = 25;

/** Operations of one measurement. */
const FLOPS = 2 * SIZE ** 3 * REPEATS;

/** The arguments of the small product. */
function productOf({ probeAt }: WasmInstance): number[] {
  const matrix = SIZE * SIZE * 4;
  const [a, b, out] = [probeAt, probeAt + matrix, probeAt + 2 * matrix];
  return [a, b, a, a, out, 1, SIZE, SIZE, SIZE, 0, 0, 0, 0, 0, 0, 0, 0, 1];
}

/** The least ms of a measurement; `product` is one of them. */
function leastMs(world: World, product: () => void): number {
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = world.now();
    for (let i = 0; i < REPEATS; i++) product();
    least = Math.min(least, world.now() - startMs);
  }
  // A clock may be coarser than that.
  return Math.max(least, 1e-3);
}

function aloneMs(instance: WasmInstance, world: World): number {
  const args = productOf(instance);
  const product = instance.kernels['matmul']!;
  return leastMs(world, () => product(...args, 0, 1));
}

/** Speed of one thread at small products, in 10^9 operations per second. */
export function gflopsOf(instance: WasmInstance, world: World): number {
  return FLOPS / aloneMs(instance, world) / 1e6;
}

export class ThreadGain {
  readonly #pool: ThreadPool;
  readonly #instance: WasmInstance;
  readonly #world: World;
  #since = 0;
  #helps: boolean;
  /** Speed at small products when it was made, in 10^9 operations per second. */
  readonly gflops: number;

  constructor(pool: ThreadPool, instance: WasmInstance, world: World) {
    this.#pool = pool;
    this.#instance = instance;
    this.#world = world;
    const { helps, ms } = this.#measure();
    this.#helps = helps;
    this.gflops = FLOPS / ms / 1e6;
  }

  /** Before a launch of so much work. */
  helps(work: number): boolean {
    this.#since += work;
    if (this.#since >= EVERY_WORK) {
      this.#since = 0;
      this.#helps = this.#measure().helps;
    }
    return this.#helps;
  }

  #measure(): { readonly helps: boolean; readonly ms: number } {
    const args = productOf(this.#instance);
    const product = this.#instance.kernels['matmul']!;
    const number = this.#pool.numberOf('matmul');
    const alone = aloneMs(this.#instance, this.#world);
    const together = leastMs(this.#world, () => this.#pool.run(number, product, args));
    return { helps: alone > LEAST_GAIN * together, ms: Math.min(alone, together) };
  }
}
