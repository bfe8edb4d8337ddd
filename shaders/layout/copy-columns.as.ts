// Copies a run of each row; threads share the rows.

import { copyRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function copyColumns(
  x: usize,
  out: usize,
  R: i32,
  COLS: i32,
  X_WIDTH: i32,
  X_COL: i32,
  OUT_WIDTH: i32,
  OUT_COL: i32,
  part: i32,
  parts: i32,
): void {
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++)
    copyRow(out + ((<usize>r * OUT_WIDTH + OUT_COL) << 2), x + ((<usize>r * X_WIDTH + X_COL) << 2), COLS);
}
