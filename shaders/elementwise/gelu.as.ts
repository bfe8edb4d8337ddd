// One pass; threads share the elements.

import { gelu4, geluErf4 } from '../wasm/activation.as.ts';
import { loadSome, storeSome } from '../wasm/simd.as.ts';
import { firstFloat } from '../wasm/threads.as.ts';

export function gelu(x: usize, out: usize, N: i32, TANH: i32, part: i32, parts: i32): void {
  const from = firstFloat(N, part, parts);
  const skip = (<usize>from) << 2;
  const count = firstFloat(N, part + 1, parts) - from;
  if (TANH) tanhForm(x + skip, out + skip, count);
  else erfForm(x + skip, out + skip, count);
}

function tanhForm(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, gelu4(v128.load(x)));
    x += 16;
    out += 16;
  }
  if (count > 0) storeSome(out, gelu4(loadSome(x, count)), count);
}

function erfForm(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, geluErf4(v128.load(x)));
    x += 16;
    out += 16;
  }
  if (count > 0) storeSome(out, geluErf4(loadSome(x, count)), count);
}
