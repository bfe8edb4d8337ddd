// Scales the rows of dOut into the order of the experts; threads share the rows.

import { scaleRow, zeroRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';
import { NO_ROW } from './no-row.as.ts';

export function moeCombineBackward(
  dOut: usize,
  source: usize,
  gates: usize,
  dY: usize,
  R: i32,
  C: i32,
  K: i32,
  part: i32,
  parts: i32,
): void {
  const bytes = (<usize>C) << 2;
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const from = load<u32>(source + ((<usize>r) << 2));
    const row = dY + <usize>r * bytes;
    if (from === NO_ROW) zeroRow(row, C);
    else scaleRow(row, dOut + <usize>(from / <u32>K) * bytes, load<f32>(gates + ((<usize>from) << 2)), C);
  }
}
