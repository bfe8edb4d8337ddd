// Copies rows; threads share the ids.

import { copyRow, zeroRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function embedding(
  ids: usize,
  table: usize,
  out: usize,
  R: i32,
  C: i32,
  V_START: i32,
  V_ROWS: i32,
  part: i32,
  parts: i32,
): void {
  const bytes = (<usize>C) << 2;
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    // An id below V_START wraps to a large number.
    const entry = load<u32>(ids + ((<usize>r) << 2)) - <u32>V_START;
    if (entry < <u32>V_ROWS) copyRow(out + <usize>r * bytes, table + <usize>entry * bytes, C);
    else zeroRow(out + <usize>r * bytes, C);
  }
}
