// What a reduction does with two f32 arrays. The order of calls is the caller's, and the same on every run; NaN wins in
// max and min too, so that it is seen.

import type { Reduction } from '../../transport/arguments.ts';

/** target = target (+, max, min) x. */
export type Combine = (target: Float32Array, x: Float32Array) => void;

export function combinerOf(reduction: Reduction): Combine {
  if (reduction === 'max') return maxInto;
  return reduction === 'min' ? minInto : addInto;
}

/** What is left to do with the combined values of `size` members. */
export function finish(reduction: Reduction, x: Float32Array, size: number): void {
  if (reduction === 'mean') for (let i = 0; i < x.length; i++) x[i] /= size;
}

function addInto(target: Float32Array, x: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += x[i];
}

function maxInto(target: Float32Array, x: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = Math.max(target[i], x[i]);
}

function minInto(target: Float32Array, x: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = Math.min(target[i], x[i]);
}
