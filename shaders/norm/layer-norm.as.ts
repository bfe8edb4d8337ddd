// Three passes over a row in the cache, as layer-norm.wgsl: a guess of the mean; deviations from it, whose average
// corrects it, so that rows far from zero lose nothing; the result.

import { firstLanes, loadSome, madd, storeSome, total } from '../wasm/simd.as.ts';
import { sumOf } from '../wasm/statistics.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function layerNorm(
  x: usize,
  weight: usize,
  bias: usize,
  out: usize,
  mean: usize,
  rstd: usize,
  R: i32,
  C: i32,
  EPS: f32,
  part: i32,
  parts: i32,
): void {
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const skip = (<usize>r * C) << 2;
    const at = (<usize>r) << 2;
    normalise(x + skip, weight, bias, out + skip, mean + at, rstd + at, C, EPS);
  }
}

function normalise(x: usize, weight: usize, bias: usize, out: usize, mean: usize, rstd: usize, C: i32, EPS: f32): void {
  const guess = sumOf(x, C) / <f32>C;
  const center = f32x4.splat(guess);
  let d0 = f32x4.splat(0);
  let d1 = f32x4.splat(0);
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let at = x;
  let count = C;
  for (; count >= 8; count -= 8) {
    const a = f32x4.sub(v128.load(at), center);
    const b = f32x4.sub(v128.load(at, 16), center);
    d0 = f32x4.add(d0, a);
    d1 = f32x4.add(d1, b);
    s0 = madd(a, a, s0);
    s1 = madd(b, b, s1);
    at += 32;
  }
  if (count >= 4) {
    const a = f32x4.sub(v128.load(at), center);
    d0 = f32x4.add(d0, a);
    s0 = madd(a, a, s0);
    at += 16;
  }
  const rest = count & 3;
  if (rest) {
    const a = v128.and(f32x4.sub(loadSome(at, rest), center), firstLanes(rest));
    d1 = f32x4.add(d1, a);
    s1 = madd(a, a, s1);
  }
  const correction = total(f32x4.add(d0, d1)) / <f32>C;
  const variance = max(total(f32x4.add(s0, s1)) / <f32>C - correction * correction, 0);
  const scale = <f32>(1 / Math.sqrt(<f64>variance + EPS));
  store<f32>(mean, guess + correction);
  store<f32>(rstd, scale);
  scaleRow(x, weight, bias, out, C, center, f32x4.splat(correction), f32x4.splat(scale));
}

/** out = ((x - center) - correction) scale weight + bias. */
function scaleRow(
  x: usize,
  weight: usize,
  bias: usize,
  out: usize,
  count: i32,
  center: v128,
  correction: v128,
  scale: v128,
): void {
  for (; count >= 4; count -= 4) {
    const d = f32x4.sub(f32x4.sub(v128.load(x), center), correction);
    v128.store(out, madd(f32x4.mul(d, scale), v128.load(weight), v128.load(bias)));
    x += 16;
    weight += 16;
    bias += 16;
    out += 16;
  }
  if (count > 0) {
    const d = f32x4.sub(f32x4.sub(loadSome(x, count), center), correction);
    storeSome(out, madd(f32x4.mul(d, scale), loadSome(weight, count), loadSome(bias, count)), count);
  }
}
