// Down the rows, eight at a time; see ../wasm/columns.as.ts.

import { COLUMNS, storeSums } from '../wasm/columns.as.ts';
import { loadSome } from '../wasm/simd.as.ts';
import { firstFloat, scratch } from '../wasm/threads.as.ts';

/** Rows that one pass over the sums serves. */
const ROWS: i32 = 8;

export function columnSum(x: usize, out: usize, R: i32, C: i32, ACCUMULATE: i32, part: i32, parts: i32): void {
  const sums = scratch();
  const stride = (<usize>C) << 2;
  const to = firstFloat(C, part + 1, parts);
  for (let column = firstFloat(C, part, parts); column < to; column += COLUMNS) {
    const columns = min(COLUMNS, to - column);
    memory.fill(sums, 0, (<usize>COLUMNS) << 2);
    let row = x + ((<usize>column) << 2);
    let r = R;
    for (; r >= ROWS; r -= ROWS) {
      addRows(row, stride, columns, sums);
      row += ROWS * stride;
    }
    for (; r > 0; r--) {
      addRow(row, columns, sums);
      row += stride;
    }
    storeSums(sums, out + ((<usize>column) << 2), columns, ACCUMULATE);
  }
}

/** ROWS rows, `stride` bytes apart. */
function addRows(x: usize, stride: usize, columns: i32, sums: usize): void {
  const fifth = x + 4 * stride;
  let offset: usize = 0;
  for (; columns >= 4; columns -= 4) {
    const a = f32x4.add(v128.load(x + offset), v128.load(x + stride + offset));
    const b = f32x4.add(v128.load(x + 2 * stride + offset), v128.load(x + 3 * stride + offset));
    const c = f32x4.add(v128.load(fifth + offset), v128.load(fifth + stride + offset));
    const d = f32x4.add(v128.load(fifth + 2 * stride + offset), v128.load(fifth + 3 * stride + offset));
    const eight = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
    v128.store(sums + offset, f32x4.add(v128.load(sums + offset), eight));
    offset += 16;
  }
  if (columns === 0) return;
  for (let i = 0; i < ROWS; i++) {
    addRow(x + offset, columns, sums + offset);
    x += stride;
  }
}

function addRow(x: usize, columns: i32, sums: usize): void {
  for (; columns >= 4; columns -= 4) {
    v128.store(sums, f32x4.add(v128.load(sums), v128.load(x)));
    x += 16;
    sums += 16;
  }
  if (columns > 0) v128.store(sums, f32x4.add(v128.load(sums), loadSome(x, columns)));
}
