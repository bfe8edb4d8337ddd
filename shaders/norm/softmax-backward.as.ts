// Two passes over a row in the cache: the product of p and dOut, then the gradient. Where the dimension is not the last
// one, four neighbouring lines go down it side by side.

import { loadSome, madd, storeSome, total } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function softmaxBackward(
  p: usize,
  dOut: usize,
  dX: usize,
  OUTER: i32,
  C: i32,
  INNER: i32,
  part: i32,
  parts: i32,
): void {
  if (INNER === 1) {
    const to = firstOf(OUTER, part + 1, parts);
    for (let r = firstOf(OUTER, part, parts); r < to; r++) {
      const skip = (<usize>r * C) << 2;
      alongRow(p + skip, dOut + skip, dX + skip, C);
    }
    return;
  }
  const fours = (INNER + 3) >> 2;
  const to = firstOf(OUTER * fours, part + 1, parts);
  for (let unit = firstOf(OUTER * fours, part, parts); unit < to; unit++) {
    const inner = (unit % fours) << 2;
    const skip = (<usize>(unit / fours) * C * INNER + inner) << 2;
    down(p + skip, dOut + skip, dX + skip, C, (<usize>INNER) << 2, min(4, INNER - inner));
  }
}

function alongRow(p: usize, dOut: usize, dX: usize, C: i32): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let at: usize = 0;
  let count = C;
  for (; count >= 8; count -= 8) {
    s0 = madd(v128.load(dOut + at), v128.load(p + at), s0);
    s1 = madd(v128.load(dOut + at, 16), v128.load(p + at, 16), s1);
    at += 32;
  }
  if (count >= 4) {
    s0 = madd(v128.load(dOut + at), v128.load(p + at), s0);
    at += 16;
  }
  const rest = count & 3;
  if (rest) s1 = madd(loadSome(dOut + at, rest), loadSome(p + at, rest), s1);
  const sum = f32x4.splat(total(f32x4.add(s0, s1)));
  at = 0;
  for (count = C; count >= 4; count -= 4) {
    v128.store(dX + at, f32x4.mul(v128.load(p + at), f32x4.sub(v128.load(dOut + at), sum)));
    at += 16;
  }
  if (rest) storeSome(dX + at, f32x4.mul(loadSome(p + at, rest), f32x4.sub(loadSome(dOut + at, rest), sum)), rest);
}

/** `lines` (1 to 4) lines whose elements lie `stride` bytes apart. */
function down(p: usize, dOut: usize, dX: usize, C: i32, stride: usize, lines: i32): void {
  const whole = lines === 4;
  let sum = f32x4.splat(0);
  let at: usize = 0;
  for (let c = C; c > 0; c--) {
    const d = whole ? v128.load(dOut + at) : loadSome(dOut + at, lines);
    sum = madd(d, whole ? v128.load(p + at) : loadSome(p + at, lines), sum);
    at += stride;
  }
  at = 0;
  for (let c = C; c > 0; c--) {
    const d = f32x4.sub(whole ? v128.load(dOut + at) : loadSome(dOut + at, lines), sum);
    const v = f32x4.mul(whole ? v128.load(p + at) : loadSome(p + at, lines), d);
    if (whole) v128.store(dX + at, v);
    else storeSome(dX + at, v, lines);
    at += stride;
  }
}
