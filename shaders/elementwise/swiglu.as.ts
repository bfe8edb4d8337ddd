// One pass; threads share the rows.

import { silu4 } from '../wasm/activation.as.ts';
import { loadSome, storeSome } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function swiglu(gateUp: usize, out: usize, R: i32, F: i32, part: i32, parts: i32): void {
  const width = (<usize>F) << 2;
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const gate = gateUp + 2 * <usize>r * width;
    product(gate, gate + width, out + <usize>r * width, F);
  }
}

function product(gate: usize, up: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, f32x4.mul(silu4(v128.load(gate)), v128.load(up)));
    gate += 16;
    up += 16;
    out += 16;
  }
  if (count > 0) storeSome(out, f32x4.mul(silu4(loadSome(gate, count)), loadSome(up, count)), count);
}
