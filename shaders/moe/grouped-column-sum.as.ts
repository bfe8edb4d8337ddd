// Adds the rows of each expert one after another; threads share the columns.

import { addRow, LINE, zeroRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function groupedColumnSum(
  x: usize,
  offsets: usize,
  out: usize,
  R: i32,
  C: i32,
  E: i32,
  ACCUMULATE: i32,
  part: i32,
  parts: i32,
): void {
  const lines = (C + LINE - 1) / LINE;
  const column = firstOf(lines, part, parts) * LINE;
  const columns = min(C, firstOf(lines, part + 1, parts) * LINE) - column;
  const bytes = (<usize>C) << 2;
  x += (<usize>column) << 2;
  out += (<usize>column) << 2;
  for (let e = 0; e < E; e++) {
    if (!ACCUMULATE) zeroRow(out, columns);
    const end = load<u32>(offsets + ((<usize>e) << 2), 4);
    for (let r = load<u32>(offsets + ((<usize>e) << 2)); r < end; r++) addRow(out, x + <usize>r * bytes, columns);
    out += bytes;
  }
}
