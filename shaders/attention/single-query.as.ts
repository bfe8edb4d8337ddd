// Attention of one query, as when text is generated: keys and values are read once where they lie, because packing them
// would cost more than the products. Blocks of keys with an online softmax, as forward.as.ts.

import { log } from '../wasm/logarithm.as.ts';
import { exp4, largest, loadSome, madd, storeSome, total } from '../wasm/simd.as.ts';
import { NONE, SEES_NONE } from './weights.as.ts';

/** Keys of a block. */
const KEYS: i32 = 512;
/** Bytes of the scores of a block; behind them `attendOne` keeps the sums. */
const SCORE_BYTES: usize = 2048;

/** out and lse of query q over `keys` keys, all seen. Strides in bytes; `room` for the scores of a block and sums. */
export function attendOne(
  room: usize,
  q: usize,
  k: usize,
  v: usize,
  out: usize,
  lse: usize,
  keys: i32,
  D: i32,
  DV: i32,
  SCALE: f32,
  kStride: usize,
  vStride: usize,
): void {
  const sums = room + SCORE_BYTES;
  memory.fill(sums, 0, (<usize>(DV + 3)) << 2);
  let top = NONE;
  let weight: f32 = 0;
  for (let key = 0; key < keys; key += KEYS) {
    const count = min(KEYS, keys - key);
    const before = top;
    top = max(top, score(room, q, k + <usize>key * kStride, kStride, count, D, SCALE));
    const shrink = f32x4.extract_lane(exp4(f32x4.splat(before - top)), 0);
    weight = weight * shrink + weighAll(room, count, max(top, SEES_NONE));
    addValues(sums, room, v + <usize>key * vStride, vStride, count, DV, shrink);
  }
  const factor = f32x4.splat(weight === 0 ? 0 : 1 / weight);
  let d = 0;
  for (; d + 4 <= DV; d += 4)
    v128.store(out + ((<usize>d) << 2), f32x4.mul(factor, v128.load(sums + ((<usize>d) << 2))));
  if (d < DV) storeSome(out + ((<usize>d) << 2), f32x4.mul(factor, v128.load(sums + ((<usize>d) << 2))), DV - d);
  store<f32>(lse, weight === 0 ? NONE : <f32>(<f64>top + log(weight)));
}

/** The scores of `count` keys, NONE behind them up to a multiple of 4, and the largest of them; NaN is passed over. */
function score(to: usize, q: usize, k: usize, stride: usize, count: i32, D: i32, SCALE: f32): f32 {
  let top = f32x4.splat(NONE);
  for (let left = count; left > 0; left -= 4) {
    // The last key stands in for those behind it.
    const second: usize = left > 1 ? stride : 0;
    const third = second + (left > 2 ? stride : 0);
    const fourth = third + (left > 3 ? stride : 0);
    let scores = f32x4.mul(f32x4.splat(SCALE), dots(q, k, k + second, k + third, k + fourth, D));
    if (left < 4) scores = v128.bitselect(scores, f32x4.splat(NONE), i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(left)));
    v128.store(to, scores);
    top = f32x4.pmax(top, scores);
    k += 4 * stride;
    to += 16;
  }
  return largest(top);
}

/** q times each of four keys. */
function dots(q: usize, a: usize, b: usize, c: usize, e: usize, entries: i32): v128 {
  let sum0 = f32x4.splat(0);
  let sum1 = f32x4.splat(0);
  let sum2 = f32x4.splat(0);
  let sum3 = f32x4.splat(0);
  const whole = ((<usize>entries) >> 2) << 4;
  for (let d: usize = 0; d < whole; d += 16) {
    const x = v128.load(q + d);
    sum0 = madd(x, v128.load(a + d), sum0);
    sum1 = madd(x, v128.load(b + d), sum1);
    sum2 = madd(x, v128.load(c + d), sum2);
    sum3 = madd(x, v128.load(e + d), sum3);
  }
  const rest = entries & 3;
  if (rest) {
    const x = loadSome(q + whole, rest);
    sum0 = madd(x, loadSome(a + whole, rest), sum0);
    sum1 = madd(x, loadSome(b + whole, rest), sum1);
    sum2 = madd(x, loadSome(c + whole, rest), sum2);
    sum3 = madd(x, loadSome(e + whole, rest), sum3);
  }
  const low = f32x4.add(v128.shuffle<f32>(sum0, sum1, 0, 4, 1, 5), v128.shuffle<f32>(sum0, sum1, 2, 6, 3, 7));
  const high = f32x4.add(v128.shuffle<f32>(sum2, sum3, 0, 4, 1, 5), v128.shuffle<f32>(sum2, sum3, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f64>(low, high, 0, 2), v128.shuffle<f64>(low, high, 1, 3));
}

/** Scores become weights; gives their sum. */
function weighAll(scores: usize, count: i32, top: f32): f32 {
  const least = f32x4.splat(top);
  let sum = f32x4.splat(0);
  for (let i = 0; i < count; i += 4) {
    const weights = exp4(f32x4.sub(v128.load(scores), least));
    v128.store(scores, weights);
    sum = f32x4.add(sum, weights);
    scores += 16;
  }
  return total(sum);
}

/** sums = shrink sums + the weighed values. */
function addValues(sums: usize, weights: usize, v: usize, stride: usize, count: i32, DV: i32, shrink: f32): void {
  const factor = f32x4.splat(shrink);
  let d = DV;
  for (; d >= 16; d -= 16) {
    let sum0 = f32x4.mul(factor, v128.load(sums));
    let sum1 = f32x4.mul(factor, v128.load(sums, 16));
    let sum2 = f32x4.mul(factor, v128.load(sums, 32));
    let sum3 = f32x4.mul(factor, v128.load(sums, 48));
    let at = v;
    for (let i = 0; i < count; i++) {
      const weight = v128.load_splat<f32>(weights + ((<usize>i) << 2));
      sum0 = madd(weight, v128.load(at), sum0);
      sum1 = madd(weight, v128.load(at, 16), sum1);
      sum2 = madd(weight, v128.load(at, 32), sum2);
      sum3 = madd(weight, v128.load(at, 48), sum3);
      at += stride;
    }
    v128.store(sums, sum0);
    v128.store(sums, sum1, 16);
    v128.store(sums, sum2, 32);
    v128.store(sums, sum3, 48);
    sums += 64;
    v += 64;
  }
  for (; d > 0; d -= 4) {
    let sum = f32x4.mul(factor, v128.load(sums));
    let at = v;
    for (let i = 0; i < count; i++) {
      const value = d < 4 ? loadSome(at, d) : v128.load(at);
      sum = madd(v128.load_splat<f32>(weights + ((<usize>i) << 2)), value, sum);
      at += stride;
    }
    v128.store(sums, sum);
    sums += 16;
    v += 16;
  }
}
