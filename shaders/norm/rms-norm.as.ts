// Two passes over a row in the cache: the sum of squares, then the result.

import { loadSome, madd, storeSome, total } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function rmsNorm(
  x: usize,
  weight: usize,
  out: usize,
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
    const scale = <f32>(1 / Math.sqrt(<f64>squareSum(x + skip, C) / C + EPS));
    store<f32>(rstd + ((<usize>r) << 2), scale);
    scaleRow(x + skip, weight, out + skip, C, f32x4.splat(scale));
  }
}

function squareSum(x: usize, count: i32): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  for (; count >= 16; count -= 16) {
    const a = v128.load(x);
    const b = v128.load(x, 16);
    const c = v128.load(x, 32);
    const d = v128.load(x, 48);
    s0 = madd(a, a, s0);
    s1 = madd(b, b, s1);
    s2 = madd(c, c, s2);
    s3 = madd(d, d, s3);
    x += 64;
  }
  for (; count >= 4; count -= 4) {
    const a = v128.load(x);
    s0 = madd(a, a, s0);
    x += 16;
  }
  if (count > 0) {
    const a = loadSome(x, count);
    s1 = madd(a, a, s1);
  }
  return total(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
}

/** out = x scale weight. */
function scaleRow(x: usize, weight: usize, out: usize, count: i32, scale: v128): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, f32x4.mul(f32x4.mul(v128.load(x), scale), v128.load(weight)));
    x += 16;
    weight += 16;
    out += 16;
  }
  if (count > 0) storeSome(out, f32x4.mul(f32x4.mul(loadSome(x, count), scale), loadSome(weight, count)), count);
}
