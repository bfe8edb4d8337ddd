// Two passes over a row in the cache: both averages, then the gradient.

import { loadSome, madd, storeSome, total } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function layerNormBackward(
  x: usize,
  weight: usize,
  mean: usize,
  rstd: usize,
  dOut: usize,
  residual: usize,
  dX: usize,
  R: i32,
  C: i32,
  RESIDUAL: i32,
  part: i32,
  parts: i32,
): void {
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const skip = (<usize>r * C) << 2;
    const at = (<usize>r) << 2;
    const rest = RESIDUAL ? residual + skip : 0;
    gradientOfRow(x + skip, weight, dOut + skip, rest, dX + skip, C, load<f32>(mean + at), load<f32>(rstd + at));
  }
}

function gradientOfRow(
  x: usize,
  weight: usize,
  dOut: usize,
  residual: usize,
  dX: usize,
  C: i32,
  average: f32,
  scale: f32,
): void {
  const mean = f32x4.splat(average);
  let g0 = f32x4.splat(0);
  let g1 = f32x4.splat(0);
  let p0 = f32x4.splat(0);
  let p1 = f32x4.splat(0);
  let at: usize = 0;
  let count = C;
  for (; count >= 8; count -= 8) {
    const a = f32x4.mul(v128.load(dOut + at), v128.load(weight + at));
    const b = f32x4.mul(v128.load(dOut + at, 16), v128.load(weight + at, 16));
    g0 = f32x4.add(g0, a);
    g1 = f32x4.add(g1, b);
    p0 = madd(a, f32x4.sub(v128.load(x + at), mean), p0);
    p1 = madd(b, f32x4.sub(v128.load(x + at, 16), mean), p1);
    at += 32;
  }
  if (count >= 4) {
    const a = f32x4.mul(v128.load(dOut + at), v128.load(weight + at));
    g0 = f32x4.add(g0, a);
    p0 = madd(a, f32x4.sub(v128.load(x + at), mean), p0);
    at += 16;
  }
  const rest = count & 3;
  if (rest) {
    // Zeros beyond the row make g 0 there.
    const a = f32x4.mul(loadSome(dOut + at, rest), loadSome(weight + at, rest));
    g1 = f32x4.add(g1, a);
    p1 = madd(a, f32x4.sub(loadSome(x + at, rest), mean), p1);
  }
  const gMean = total(f32x4.add(g0, g1)) / <f32>C;
  const gxMean = (total(f32x4.add(p0, p1)) / <f32>C) * scale;
  const base = f32x4.splat(gMean);
  const slope = f32x4.splat(scale * gxMean);
  const factor = f32x4.splat(scale);
  at = 0;
  for (count = C; count >= 4; count -= 4) {
    const g = f32x4.sub(f32x4.mul(v128.load(dOut + at), v128.load(weight + at)), base);
    const d = f32x4.mul(f32x4.sub(g, f32x4.mul(f32x4.sub(v128.load(x + at), mean), slope)), factor);
    v128.store(dX + at, residual ? f32x4.add(d, v128.load(residual + at)) : d);
    at += 16;
  }
  if (count > 0) {
    const g = f32x4.sub(f32x4.mul(loadSome(dOut + at, count), loadSome(weight + at, count)), base);
    const d = f32x4.mul(f32x4.sub(g, f32x4.mul(f32x4.sub(loadSome(x + at, count), mean), slope)), factor);
    storeSome(dX + at, residual ? f32x4.add(d, loadSome(residual + at, count)) : d, count);
  }
}
