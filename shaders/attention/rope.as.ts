// Turns the pairs of rotary heads, and copies the rest; see rope.ts.

import { firstOf } from '../wasm/threads.as.ts';

export function rope(
  x: usize,
  cos: usize,
  sin: usize,
  out: usize,
  R: i32,
  T: i32,
  HEADS: i32,
  ROTARY_HEADS: i32,
  HD: i32,
  ROTARY_DIM: i32,
  INTERLEAVED: i32,
  INVERSE: i32,
  part: i32,
  parts: i32,
): void {
  const half = ROTARY_DIM >> 1;
  const turned = min(ROTARY_HEADS, HEADS);
  const last = firstOf(R, part + 1, parts);
  for (let row = firstOf(R, part, parts); row < last; row++) {
    const angles = (<usize>((row % T) * half)) << 2;
    let at = (<usize>row * HEADS * HD) << 2;
    for (let head = 0; head < turned; head++) {
      if (INTERLEAVED) turnNeighbours(out + at, x + at, cos + angles, sin + angles, half, INVERSE !== 0);
      else turnHalves(out + at, x + at, cos + angles, sin + angles, half, INVERSE !== 0);
      copy(out + at + ((<usize>ROTARY_DIM) << 2), x + at + ((<usize>ROTARY_DIM) << 2), HD - ROTARY_DIM);
      at += (<usize>HD) << 2;
    }
    copy(out + at, x + at, (HEADS - turned) * HD);
  }
}

/** Pairs (i, i + half). */
function turnHalves(out: usize, x: usize, cos: usize, sin: usize, half: i32, inverse: boolean): void {
  const away = (<usize>half) << 2;
  let i = half;
  for (; i >= 4; i -= 4) {
    const a = v128.load(x);
    const b = v128.load(x + away);
    const c = v128.load(cos);
    const s = inverse ? f32x4.neg(v128.load(sin)) : v128.load(sin);
    v128.store(out, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(out + away, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
    x += 16;
    cos += 16;
    sin += 16;
    out += 16;
  }
  for (; i > 0; i--) {
    turnOne(out, out + away, load<f32>(x), load<f32>(x + away), load<f32>(cos), load<f32>(sin), inverse);
    x += 4;
    cos += 4;
    sin += 4;
    out += 4;
  }
}

/** Pairs (2i, 2i + 1). */
function turnNeighbours(out: usize, x: usize, cos: usize, sin: usize, half: i32, inverse: boolean): void {
  const signs = inverse ? f32x4(1, -1, 1, -1) : f32x4(-1, 1, -1, 1);
  let i = half;
  for (; i >= 2; i -= 2) {
    const v = v128.load(x);
    const c = v128.load64_zero(cos);
    const s = v128.load64_zero(sin);
    const swapped = v128.shuffle<f32>(v, v, 1, 0, 3, 2);
    const turned = f32x4.mul(f32x4.mul(swapped, signs), v128.shuffle<f32>(s, s, 0, 0, 1, 1));
    v128.store(out, f32x4.add(f32x4.mul(v, v128.shuffle<f32>(c, c, 0, 0, 1, 1)), turned));
    x += 16;
    cos += 8;
    sin += 8;
    out += 16;
  }
  if (i > 0) turnOne(out, out + 4, load<f32>(x), load<f32>(x, 4), load<f32>(cos), load<f32>(sin), inverse);
}

function turnOne(first: usize, second: usize, a: f32, b: f32, c: f32, s: f32, inverse: boolean): void {
  if (inverse) s = -s;
  store<f32>(first, a * c - b * s);
  store<f32>(second, b * c + a * s);
}

function copy(to: usize, from: usize, count: i32): void {
  if (count > 0) memory.copy(to, from, (<usize>count) << 2);
}
