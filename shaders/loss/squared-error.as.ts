// A row after another: they are short.

import { loadSome, madd, total } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function squaredError(x: usize, y: usize, out: usize, R: i32, C: i32, part: i32, parts: i32): void {
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const skip = (<usize>r * C) << 2;
    store<f32>(out + ((<usize>r) << 2), distance(x + skip, y + skip, C) * 0.5);
  }
}

/** The square of the distance of two rows. */
function distance(x: usize, y: usize, count: i32): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  for (; count >= 8; count -= 8) {
    const a = f32x4.sub(v128.load(x), v128.load(y));
    const b = f32x4.sub(v128.load(x, 16), v128.load(y, 16));
    s0 = madd(a, a, s0);
    s1 = madd(b, b, s1);
    x += 32;
    y += 32;
  }
  if (count >= 4) {
    const a = f32x4.sub(v128.load(x), v128.load(y));
    s0 = madd(a, a, s0);
    x += 16;
    y += 16;
  }
  const rest = count & 3;
  if (rest) {
    const a = f32x4.sub(loadSome(x, rest), loadSome(y, rest));
    s1 = madd(a, a, s1);
  }
  return total(f32x4.add(s0, s1));
}
