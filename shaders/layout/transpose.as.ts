// Runs of INNER floats are copied; single floats are turned in squares of 4 x 4, in strips of STRIP rows of out: the
// cache lines that a strip writes stay in the first cache until they are full. Threads share the strips.

import { copyRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

/** Rows of out: as many lines as a set of the first cache holds, since rows may lie a power of two apart. */
const STRIP: i32 = 8;

export function transpose(
  x: usize,
  out: usize,
  OUTER: i32,
  ROWS: i32,
  COLS: i32,
  INNER: i32,
  part: i32,
  parts: i32,
): void {
  const strips = (COLS + STRIP - 1) / STRIP;
  const to = firstOf(OUTER * strips, part + 1, parts);
  for (let strip = firstOf(OUTER * strips, part, parts); strip < to; strip++) {
    const column = (strip % strips) * STRIP;
    const columns = min(STRIP, COLS - column);
    const matrix = (<usize>(strip / strips) * ROWS * COLS * INNER) << 2;
    const from = x + matrix + ((<usize>column * INNER) << 2);
    const into = out + matrix + ((<usize>column * ROWS * INNER) << 2);
    if (INNER === 1) turn(from, into, ROWS, columns, (<usize>COLS) << 2, (<usize>ROWS) << 2);
    else copyRuns(from, into, ROWS, columns, COLS, INNER);
  }
}

/** out[c, r] = x[r, c]; rows of x are `down` bytes apart, of out `across`. */
function turn(x: usize, out: usize, rows: i32, columns: i32, down: usize, across: usize): void {
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    let from = x;
    let to = out;
    let c = 0;
    for (; c + 4 <= columns; c += 4) {
      turnSquare(from, to, down, across);
      from += 16;
      to += across << 2;
    }
    for (; c < columns; c++) {
      for (let i: usize = 0; i < 4; i++) store<f32>(to + (i << 2), load<f32>(from + i * down));
      from += 4;
      to += across;
    }
    x += down << 2;
    out += 16;
  }
  for (; r < rows; r++) {
    for (let c: usize = 0; c < <usize>columns; c++) store<f32>(out + c * across, load<f32>(x + (c << 2)));
    x += down;
    out += 4;
  }
}

function turnSquare(x: usize, out: usize, down: usize, across: usize): void {
  const a = v128.load(x);
  const b = v128.load(x + down);
  const c = v128.load(x + 2 * down);
  const d = v128.load(x + 3 * down);
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  v128.store(out, v128.shuffle<f64>(ab, cd, 0, 2));
  v128.store(out + across, v128.shuffle<f64>(ab, cd, 1, 3));
  const ab2 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  const cd2 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(out + 2 * across, v128.shuffle<f64>(ab2, cd2, 0, 2));
  v128.store(out + 3 * across, v128.shuffle<f64>(ab2, cd2, 1, 3));
}

function copyRuns(x: usize, out: usize, rows: i32, columns: i32, COLS: i32, INNER: i32): void {
  const bytes = (<usize>INNER) << 2;
  for (let c = 0; c < columns; c++) {
    let from = x + <usize>c * bytes;
    for (let r = 0; r < rows; r++) {
      copyRow(out, from, INNER);
      from += <usize>COLS * bytes;
      out += bytes;
    }
  }
}
