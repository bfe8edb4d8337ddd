// All partial sums of a thread advance together, so that memory is read in order; each has four lanes of f64.

import { loadSome } from '../wasm/simd.as.ts';
import { firstOf, scratch } from '../wasm/threads.as.ts';

/** Partial sums that advance together: 16 KiB. */
const TOGETHER: i32 = 512;

export function reduceSum(x: usize, partials: usize, N: i32, SQUARE: i32, PARTS: i32, part: i32, parts: i32): void {
  const sums = scratch();
  const to = firstOf(PARTS, part + 1, parts);
  for (let first = firstOf(PARTS, part, parts); first < to; first += TOGETHER) {
    const together = min(TOGETHER, to - first);
    memory.fill(sums, 0, (<usize>TOGETHER) << 5);
    for (let at = first << 2; at < N; at += PARTS << 2) {
      const count = min(together << 2, N - at);
      if (SQUARE) addSquares(x + ((<usize>at) << 2), sums, count);
      else addFloats(x + ((<usize>at) << 2), sums, count);
    }
    for (let p = 0; p < together; p++) {
      const four = sums + ((<usize>p) << 5);
      const two = f64x2.add(v128.load(four), v128.load(four, 16));
      const sum = f64x2.extract_lane(two, 0) + f64x2.extract_lane(two, 1);
      store<f32>(partials + ((<usize>(first + p)) << 2), <f32>sum);
    }
  }
}

function addFloats(x: usize, sums: usize, count: i32): void {
  for (; count > 0; count -= 4) {
    const v = count >= 4 ? v128.load(x) : loadSome(x, count);
    v128.store(sums, f64x2.add(v128.load(sums), lowOf(v)));
    v128.store(sums, f64x2.add(v128.load(sums, 16), highOf(v)), 16);
    x += 16;
    sums += 32;
  }
}

function addSquares(x: usize, sums: usize, count: i32): void {
  for (; count > 0; count -= 4) {
    const v = count >= 4 ? v128.load(x) : loadSome(x, count);
    const low = lowOf(v);
    const high = highOf(v);
    v128.store(sums, f64x2.add(v128.load(sums), f64x2.mul(low, low)));
    v128.store(sums, f64x2.add(v128.load(sums, 16), f64x2.mul(high, high)), 16);
    x += 16;
    sums += 32;
  }
}

function lowOf(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}

function highOf(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 0, 1));
}
