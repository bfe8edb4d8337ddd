// Which launches may share a tuned choice. A class keeps what changes the code (flags and small extents, exactly) and
// rounds what only changes the size: a number above 8 becomes the nearest power of two, with a mark `q` where it
// divides by 4, because vector variants depend on that.

import type { Kernel, Params } from '../kernel.ts';

/** Above this an extent is a size; at or below it may be a flag, a group count or a degenerate case of its own. */
const EXACT = 8;
/** Params that are no more than this in all cases of the contract switch code on and off. */
const FLAG = 3;

/** The class of `params`, as text: 'M=~512q N=~256q K=~64q TRANS_A=0'. The order is the kernel's. */
export function shapeClass(kernel: Kernel, params: Params): string {
  return Object.keys(kernel.params)
    .map((name) => `${name}=${classOf(params[name])}`)
    .join(' ');
}

function classOf(value: number): string {
  // A factor (a scale, an epsilon) changes no speed.
  if (!Number.isInteger(value)) return 'x';
  const size = Math.abs(value);
  if (size <= EXACT) return String(value);
  return `${value < 0 ? '-' : ''}~${2 ** Math.round(Math.log2(size))}${size % 4 === 0 ? 'q' : ''}`;
}

/**
 * The params that choose code paths, as text: two launches of one variant with equal flags run the same code on other
 * sizes.
 */
export function flagsOf(kernel: Kernel, params: Params): string {
  const isFlag = (name: string): boolean =>
    [params, ...kernel.cases].every((one) => Number.isInteger(one[name]) && one[name] >= 0 && one[name] <= FLAG);
  return Object.keys(kernel.params)
    .filter(isFlag)
    .map((name) => `${name}=${params[name]}`)
    .join(' ');
}
