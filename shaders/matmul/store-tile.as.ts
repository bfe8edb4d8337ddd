// From a tile of sums to out: what a product ends with.

import { gelu4, silu4 } from '../wasm/activation.as.ts';
import { loadSome, madd, storeSome } from '../wasm/simd.as.ts';

/** Columns of a tile, and floats between two of its rows. */
export const NR: i32 = 8;

/** rows x columns (at most NR) of `sums`: out = act(SCALE sums + partial + bias) + residual + accumulate. */
export function storeTile(
  sums: usize,
  out: usize,
  rows: i32,
  columns: i32,
  N: i32,
  SCALE: f32,
  ACT: i32,
  partial: boolean,
  accumulate: boolean,
  bias: usize,
  residual: usize,
): void {
  const stride = (<usize>N) << 2;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j += 4) {
      const at = out + ((<usize>j) << 2);
      const left = columns - j;
      const sum = v128.load(sums + ((<usize>j) << 2));
      const before = partial || accumulate ? (left < 4 ? loadSome(at, left) : v128.load(at)) : f32x4.splat(0);
      let v = partial ? madd(sum, f32x4.splat(SCALE), before) : f32x4.mul(sum, f32x4.splat(SCALE));
      if (bias) {
        const b = bias + ((<usize>j) << 2);
        v = f32x4.add(v, left < 4 ? loadSome(b, left) : v128.load(b));
      }
      if (ACT === 1) v = gelu4(v);
      if (ACT === 2) v = silu4(v);
      if (residual) {
        const r = residual + ((<usize>j) << 2);
        v = f32x4.add(v, left < 4 ? loadSome(r, left) : v128.load(r));
      }
      if (accumulate) v = f32x4.add(v, before);
      if (left < 4) storeSome(at, v, left);
      else v128.store(at, v);
    }
    sums += NR << 2;
    out += stride;
    if (residual) residual += stride;
  }
}
