// STREAM's loops; threads share the elements. QUADS is the GPU's.

import { madd } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function stream(
  a: usize,
  b: usize,
  out: usize,
  N: i32,
  KIND: i32,
  SCALE: f32,
  QUADS: i32,
  part: i32,
  parts: i32,
): void {
  const from = (<usize>firstOf(N / 4, part, parts)) << 4;
  const to = (<usize>firstOf(N / 4, part + 1, parts)) << 4;
  if (KIND === 0) memory.copy(out + from, a + from, to - from);
  else if (KIND === 1) scaled(a, out, SCALE, from, to);
  else if (KIND === 2) added(a, b, out, from, to);
  else triad(a, b, out, SCALE, from, to);
}

function scaled(a: usize, out: usize, SCALE: f32, from: usize, to: usize): void {
  const scale = f32x4.splat(SCALE);
  for (let i = from; i < to; i += 16) v128.store(out + i, f32x4.mul(scale, v128.load(a + i)));
}

function added(a: usize, b: usize, out: usize, from: usize, to: usize): void {
  for (let i = from; i < to; i += 16) v128.store(out + i, f32x4.add(v128.load(a + i), v128.load(b + i)));
}

function triad(a: usize, b: usize, out: usize, SCALE: f32, from: usize, to: usize): void {
  const scale = f32x4.splat(SCALE);
  for (let i = from; i < to; i += 16) v128.store(out + i, madd(scale, v128.load(b + i), v128.load(a + i)));
}
