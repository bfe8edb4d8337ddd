// Steps on one run of floats, as most kernels take them on their rows.

import { loadSome, madd, storeSome } from './simd.as.ts';

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
