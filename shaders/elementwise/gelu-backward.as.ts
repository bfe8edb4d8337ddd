// One pass; threads share the elements.

import { geluErfSlope4, geluSlope4 } from '../wasm/activation.as.ts';
import { loadSome, storeSome } from '../wasm/simd.as.ts';
import { firstFloat } from '../wasm/threads.as.ts';

export function geluBackward(x: usize, dOut: usize, dX: usize, N: i32, TANH: i32, part: i32, parts: i32): void {
  const from = firstFloat(N, part, parts);
  const skip = (<usize>from) << 2;
  const count = firstFloat(N, part + 1, parts) - from;
  if (TANH) tanhForm(x + skip, dOut + skip, dX + skip, count);
  else erfForm(x + skip, dOut + skip, dX + skip, count);
}

function tanhForm(x: usize, dOut: usize, dX: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(dX, f32x4.mul(v128.load(dOut), geluSlope4(v128.load(x))));
    x += 16;
    dOut += 16;
    dX += 16;
  }
  if (count > 0) storeSome(dX, f32x4.mul(loadSome(dOut, count), geluSlope4(loadSome(x, count))), count);
}

function erfForm(x: usize, dOut: usize, dX: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(dX, f32x4.mul(v128.load(dOut), geluErfSlope4(v128.load(x))));
    x += 16;
    dOut += 16;
    dX += 16;
  }
  if (count > 0) storeSome(dX, f32x4.mul(loadSome(dOut, count), geluErfSlope4(loadSome(x, count))), count);
}
