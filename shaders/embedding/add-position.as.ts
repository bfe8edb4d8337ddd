// One pass over the rows, which threads share.

import { loadSome, storeSome } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function addPosition(
  x: usize,
  table: usize,
  residual: usize,
  out: usize,
  R: i32,
  C: i32,
  T: i32,
  POS_START: i32,
  RESIDUAL: i32,
  part: i32,
  parts: i32,
): void {
  const bytes = (<usize>C) << 2;
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const at = <usize>r * bytes;
    const position = table + <usize>(POS_START + (r % T)) * bytes;
    if (RESIDUAL) addThree(x + at, position, residual + at, out + at, C);
    else addTwo(x + at, position, out + at, C);
  }
}

function addTwo(x: usize, y: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, f32x4.add(v128.load(x), v128.load(y)));
    x += 16;
    y += 16;
    out += 16;
  }
  if (count > 0) storeSome(out, f32x4.add(loadSome(x, count), loadSome(y, count)), count);
}

function addThree(x: usize, y: usize, z: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, f32x4.add(f32x4.add(v128.load(x), v128.load(y)), v128.load(z)));
    x += 16;
    y += 16;
    z += 16;
    out += 16;
  }
  if (count > 0)
    storeSome(out, f32x4.add(f32x4.add(loadSome(x, count), loadSome(y, count)), loadSome(z, count)), count);
}
