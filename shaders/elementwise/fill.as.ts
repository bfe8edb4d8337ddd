// One pass; threads share the elements.

import { storeSome } from '../wasm/simd.as.ts';
import { firstFloat } from '../wasm/threads.as.ts';

export function fill(out: usize, N: i32, VALUE: f32, part: i32, parts: i32): void {
  const from = firstFloat(N, part, parts);
  out += (<usize>from) << 2;
  let count = firstFloat(N, part + 1, parts) - from;
  // All bits 0: not -0.
  if (reinterpret<i32>(VALUE) === 0) {
    memory.fill(out, 0, (<usize>count) << 2);
    return;
  }
  const value = f32x4.splat(VALUE);
  for (; count >= 4; count -= 4) {
    v128.store(out, value);
    out += 16;
  }
  if (count > 0) storeSome(out, value, count);
}
