// One pass; threads share the elements.

import { silu4 } from '../wasm/activation.as.ts';
import { loadSome, storeSome } from '../wasm/simd.as.ts';
import { firstFloat } from '../wasm/threads.as.ts';

export function silu(x: usize, out: usize, N: i32, part: i32, parts: i32): void {
  const from = firstFloat(N, part, parts);
  const skip = (<usize>from) << 2;
  const count = firstFloat(N, part + 1, parts) - from;
  activate(x + skip, out + skip, count);
}

function activate(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, silu4(v128.load(x)));
    x += 16;
    out += 16;
  }
  if (count > 0) storeSome(out, silu4(loadSome(x, count)), count);
}
