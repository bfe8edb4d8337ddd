// One pass; threads share the elements.

import { loadSome, madd, storeSome } from '../wasm/simd.as.ts';
import { firstFloat } from '../wasm/threads.as.ts';

export function add(a: usize, b: usize, out: usize, N: i32, ALPHA: f32, BETA: f32, part: i32, parts: i32): void {
  const from = firstFloat(N, part, parts);
  const skip = (<usize>from) << 2;
  a += skip;
  b += skip;
  out += skip;
  const alpha = f32x4.splat(ALPHA);
  const beta = f32x4.splat(BETA);
  let count = firstFloat(N, part + 1, parts) - from;
  for (; count >= 4; count -= 4) {
    v128.store(out, madd(alpha, v128.load(a), f32x4.mul(beta, v128.load(b))));
    a += 16;
    b += 16;
    out += 16;
  }
  if (count > 0) storeSome(out, madd(alpha, loadSome(a, count), f32x4.mul(beta, loadSome(b, count))), count);
}
