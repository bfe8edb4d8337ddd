// One pass; threads share the rows.

import { loadSome, storeSome } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function squaredErrorBackward(
  x: usize,
  y: usize,
  dOut: usize,
  dX: usize,
  R: i32,
  C: i32,
  part: i32,
  parts: i32,
): void {
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const skip = (<usize>r * C) << 2;
    gradientOfRow(x + skip, y + skip, v128.load_splat<f32>(dOut + ((<usize>r) << 2)), dX + skip, C);
  }
}

function gradientOfRow(x: usize, y: usize, scale: v128, dX: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(dX, f32x4.mul(scale, f32x4.sub(v128.load(x), v128.load(y))));
    x += 16;
    y += 16;
    dX += 16;
  }
  if (count > 0) storeSome(dX, f32x4.mul(scale, f32x4.sub(loadSome(x, count), loadSome(y, count))), count);
}
