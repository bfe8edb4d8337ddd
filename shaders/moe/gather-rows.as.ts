// Copies rows; threads share those of out.

import { copyRow, zeroRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';
import { NO_ROW } from './no-row.as.ts';

export function gatherRows(x: usize, source: usize, out: usize, R: i32, C: i32, DIV: i32, part: i32, parts: i32): void {
  const bytes = (<usize>C) << 2;
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const from = load<u32>(source + ((<usize>r) << 2));
    if (from === NO_ROW) zeroRow(out + <usize>r * bytes, C);
    else copyRow(out + <usize>r * bytes, x + <usize>(from / <u32>DIV) * bytes, C);
  }
}
