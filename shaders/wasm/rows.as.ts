// Steps on one run of floats, as most kernels take them on their rows.

import { loadSome, madd, storeSome, total } from './simd.as.ts';

/** Floats that threads share columns by: a cache line. */
export const LINE: i32 = 16;

/** Bytes from which on a call that copies pays. */
const LONG: usize = 1024;

/** to = x. They don't overlap. */
export function copyRow(to: usize, x: usize, count: i32): void {
  const bytes = (<usize>count) << 2;
  if (bytes >= LONG) {
    memory.copy(to, x, bytes);
    return;
  }
  for (; count >= 4; count -= 4) {
    v128.store(to, v128.load(x));
    to += 16;
    x += 16;
  }
  if (count > 0) storeSome(to, loadSome(x, count), count);
}

export function zeroRow(to: usize, count: i32): void {
  memory.fill(to, 0, (<usize>count) << 2);
}

/** to = scale x. */
export function scaleRow(to: usize, x: usize, scale: f32, count: i32): void {
  const factor = f32x4.splat(scale);
  for (; count >= 4; count -= 4) {
    v128.store(to, f32x4.mul(factor, v128.load(x)));
    to += 16;
    x += 16;
  }
  if (count > 0) storeSome(to, f32x4.mul(factor, loadSome(x, count)), count);
}

/** to += x. */
export function addRow(to: usize, x: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(to, f32x4.add(v128.load(to), v128.load(x)));
    to += 16;
    x += 16;
  }
  if (count > 0) storeSome(to, f32x4.add(loadSome(to, count), loadSome(x, count)), count);
}

/** to += scale x. */
export function addScaledRow(to: usize, x: usize, scale: f32, count: i32): void {
  const factor = f32x4.splat(scale);
  for (; count >= 4; count -= 4) {
    v128.store(to, madd(factor, v128.load(x), v128.load(to)));
    to += 16;
    x += 16;
  }
  if (count > 0) storeSome(to, madd(factor, loadSome(x, count), loadSome(to, count)), count);
}

/** The sum of x y. */
export function dot(x: usize, y: usize, count: i32): f32 {
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let c2 = f32x4.splat(0);
  let c3 = f32x4.splat(0);
  for (; count >= 16; count -= 16) {
    c0 = madd(v128.load(x), v128.load(y), c0);
    c1 = madd(v128.load(x, 16), v128.load(y, 16), c1);
    c2 = madd(v128.load(x, 32), v128.load(y, 32), c2);
    c3 = madd(v128.load(x, 48), v128.load(y, 48), c3);
    x += 64;
    y += 64;
  }
  for (; count >= 4; count -= 4) {
    c0 = madd(v128.load(x), v128.load(y), c0);
    x += 16;
    y += 16;
  }
  let sum = total(f32x4.add(f32x4.add(c0, c1), f32x4.add(c2, c3)));
  for (; count > 0; count--) {
    sum += load<f32>(x) * load<f32>(y);
    x += 4;
    y += 4;
  }
  return sum;
}
