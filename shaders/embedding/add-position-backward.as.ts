// Adds the rows of dOut one after another. Threads share the columns, because one position (T = 1) is common: a bias.

import { addRow, LINE } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function addPositionBackward(
  dOut: usize,
  dTable: usize,
  R: i32,
  C: i32,
  T: i32,
  POS_START: i32,
  part: i32,
  parts: i32,
): void {
  const lines = (C + LINE - 1) / LINE;
  const column = firstOf(lines, part, parts) * LINE;
  const columns = min(C, firstOf(lines, part + 1, parts) * LINE) - column;
  const bytes = (<usize>C) << 2;
  dTable += <usize>POS_START * bytes + ((<usize>column) << 2);
  dOut += (<usize>column) << 2;
  for (let r = 0; r < R; r++) addRow(dTable + <usize>(r % T) * bytes, dOut + <usize>r * bytes, columns);
}
