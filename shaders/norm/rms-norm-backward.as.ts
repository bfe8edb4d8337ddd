// Two passes over a row in the cache: the average, then the gradient.

import { loadSome, madd, storeSome, total } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function rmsNormBackward(
  x: usize,
  weight: usize,
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
    const scale = load<f32>(rstd + ((<usize>r) << 2));
    const average = (product(x + skip, weight, dOut + skip, C) / <f32>C) * scale;
    gradientOfRow(
      x + skip,
      weight,
      dOut + skip,
      RESIDUAL ? residual + skip : 0,
      dX + skip,
      C,
      f32x4.splat(scale),
      f32x4.splat(scale * average),
    );
  }
}

/** The sum of dOut weight x. */
function product(x: usize, weight: usize, dOut: usize, count: i32): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  for (; count >= 8; count -= 8) {
    s0 = madd(f32x4.mul(v128.load(dOut), v128.load(weight)), v128.load(x), s0);
    s1 = madd(f32x4.mul(v128.load(dOut, 16), v128.load(weight, 16)), v128.load(x, 16), s1);
    x += 32;
    weight += 32;
    dOut += 32;
  }
  if (count >= 4) {
    s0 = madd(f32x4.mul(v128.load(dOut), v128.load(weight)), v128.load(x), s0);
    x += 16;
    weight += 16;
    dOut += 16;
  }
  const rest = count & 3;
  if (rest) s1 = madd(f32x4.mul(loadSome(dOut, rest), loadSome(weight, rest)), loadSome(x, rest), s1);
  return total(f32x4.add(s0, s1));
}

/** dX = scale (dOut weight - slope x) (+ residual). */
function gradientOfRow(
  x: usize,
  weight: usize,
  dOut: usize,
  residual: usize,
  dX: usize,
  count: i32,
  scale: v128,
  slope: v128,
): void {
  let at: usize = 0;
  for (; count >= 4; count -= 4) {
    const g = f32x4.mul(v128.load(dOut + at), v128.load(weight + at));
    const d = f32x4.mul(f32x4.sub(g, f32x4.mul(v128.load(x + at), slope)), scale);
    v128.store(dX + at, residual ? f32x4.add(d, v128.load(residual + at)) : d);
    at += 16;
  }
  if (count > 0) {
    const g = f32x4.mul(loadSome(dOut + at, count), loadSome(weight + at, count));
    const d = f32x4.mul(f32x4.sub(g, f32x4.mul(loadSome(x + at, count), slope)), scale);
    storeSome(dX + at, residual ? f32x4.add(d, loadSome(residual + at, count)) : d, count);
  }
}
