// Seeded numbers for the workloads: uniform with mean 0 and a standard deviation, which is as good as normal for timing
// and a fifth of the cost.

import { streamId } from '../base/random.ts';
import type { HostTensor } from './problem.ts';

/** A stream of u32 by name (xorshift32). */
export function seededU32(name: string): () => number {
  let state = (streamId(name)[0] ^ streamId(name)[1]) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>>= 0);
  };
}

export function numbers(name: string, shape: readonly number[], deviation = 1): HostTensor {
  const next = seededU32(name);
  const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
  const scale = Math.sqrt(12) * deviation;
  for (let i = 0; i < data.length; i++) data[i] = scale * (next() * 2 ** -32 - 0.5);
  return { shape, data };
}

/** Whole numbers from 0 to below `n`. */
export function indices(
  name: string,
  length: number,
  n: number,
): HostTensor & { readonly data: Int32Array<ArrayBuffer> } {
  const next = seededU32(name);
  return { shape: [length], data: Int32Array.from({ length }, () => next() % n) };
}

export function zeros(shape: readonly number[]): HostTensor {
  return { shape, data: new Float32Array(shape.reduce((product, n) => product * n, 1)) };
}
