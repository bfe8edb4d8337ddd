// Adds the rows of dOut one after another, which needs no links. Threads share the columns: a few ids are most of a
// text, so that a thread per id would leave one with most of the work. The order of addition stays that of the rows.

import { addRow, LINE } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function embeddingBackward(
  ids: usize,
  next: usize,
  dOut: usize,
  dTable: usize,
  R: i32,
  C: i32,
  V_START: i32,
  V_ROWS: i32,
  part: i32,
  parts: i32,
): void {
  const lines = (C + LINE - 1) / LINE;
  const column = firstOf(lines, part, parts) * LINE;
  const columns = min(C, firstOf(lines, part + 1, parts) * LINE) - column;
  const bytes = (<usize>C) << 2;
  dTable += (<usize>column) << 2;
  dOut += (<usize>column) << 2;
  for (let r = 0; r < R; r++) {
    const entry = load<u32>(ids + ((<usize>r) << 2)) - <u32>V_START;
    if (entry < <u32>V_ROWS) addRow(dTable + <usize>entry * bytes, dOut, columns);
    dOut += bytes;
  }
}
