// One pass; threads share the elements.

import { siluSlope4 } from '../wasm/activation.as.ts';
import { loadSome, storeSome } from '../wasm/simd.as.ts';
import { firstFloat } from '../wasm/threads.as.ts';

export function siluBackward(x: usize, dOut: usize, dX: usize, N: i32, part: i32, parts: i32): void {
  const from = firstFloat(N, part, parts);
  const skip = (<usize>from) << 2;
  const count = firstFloat(N, part + 1, parts) - from;
  gradient(x + skip, dOut + skip, dX + skip, count);
}

function gradient(x: usize, dOut: usize, dX: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(dX, f32x4.mul(v128.load(dOut), siluSlope4(v128.load(x))));
    x += 16;
    dOut += 16;
    dX += 16;
  }
  if (count > 0) storeSome(dX, f32x4.mul(loadSome(dOut, count), siluSlope4(loadSome(x, count))), count);
}
