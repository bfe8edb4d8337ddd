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
  if (columns === NR && !ACT && !residual && !bias) {
    storeWhole(sums, out, rows, stride, SCALE, partial, accumulate);
    return;
  }
  for (let i = 0; i < rows; i++) {
    storeRow(sums, out, columns, SCALE, ACT, partial, accumulate, bias, residual);
    sums += NR << 2;
    out += stride;
    if (residual) residual += stride;
  }
}

/** What most tiles are, without a question per vector: with few terms, storing takes as long as computing. */
function storeWhole(
  sums: usize,
  out: usize,
  rows: i32,
  stride: usize,
  SCALE: f32,
  partial: boolean,
  accumulate: boolean,
): void {
  const scale = f32x4.splat(SCALE);
  for (; rows > 0; rows--) {
    const sum0 = v128.load(sums);
    const sum1 = v128.load(sums, 16);
    if (partial) {
      v128.store(out, madd(sum0, scale, v128.load(out)));
      v128.store(out, madd(sum1, scale, v128.load(out, 16)), 16);
    } else if (accumulate) {
      v128.store(out, f32x4.add(f32x4.mul(sum0, scale), v128.load(out)));
      v128.store(out, f32x4.add(f32x4.mul(sum1, scale), v128.load(out, 16)), 16);
    } else {
      v128.store(out, f32x4.mul(sum0, scale));
      v128.store(out, f32x4.mul(sum1, scale), 16);
    }
    sums += NR << 2;
    out += stride;
  }
}

/** One row of any length, as storeTile. */
export function storeRow(
  sums: usize,
  out: usize,
  columns: i32,
  SCALE: f32,
  ACT: i32,
  partial: boolean,
  accumulate: boolean,
  bias: usize,
  residual: usize,
): void {
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
}
