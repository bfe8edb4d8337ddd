// One pass; threads share the rows.

import { scaleRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function scaleRows(x: usize, scale: usize, out: usize, R: i32, C: i32, part: i32, parts: i32): void {
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const skip = (<usize>r * C) << 2;
    scaleRow(out + skip, x + skip, load<f32>(scale + ((<usize>r) << 2)), C);
  }
}
