// The tile of out that stays in registers, and the panels that it reads. MR x NR: 12 vectors of sums, 2 of b and one of
// a are what V8's 15 vector registers hold; without a fused multiply-add 4 rows are faster.

import { madd } from '../wasm/simd.as.ts';
import { NR } from './store-tile.as.ts';

/** Rows of a tile. */
export const MR: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;

/** `terms` x MR: rows `row` to `row + rows` of op(a), of columns `k` on; zeros below. */
export function packA(
  to: usize,
  a: usize,
  row: i32,
  rows: i32,
  k: i32,
  terms: i32,
  M: i32,
  K: i32,
  TRANS_A: i32,
): void {
  if (rows < MR) memory.fill(to, 0, (<usize>terms * MR) << 2);
  if (TRANS_A) {
    packRuns(to, a + ((<usize>k * M + row) << 2), (<usize>M) << 2, rows, terms, MR);
    return;
  }
  const from = a + ((<usize>row * K + k) << 2);
  let i = 0;
  for (; i + 4 <= rows; i += 4)
    packTransposed(to + ((<usize>i) << 2), from + ((<usize>i * K) << 2), (<usize>K) << 2, terms, MR);
  for (; i < rows; i++) packRow(to + ((<usize>i) << 2), from + ((<usize>i * K) << 2), terms, MR);
}

/** `terms` x NR: columns `column` to `column + columns` of op(b), of rows `k` on; zeros behind. */
export function packB(
  to: usize,
  b: usize,
  column: i32,
  columns: i32,
  k: i32,
  terms: i32,
  N: i32,
  K: i32,
  TRANS_B: i32,
): void {
  if (columns < NR) memory.fill(to, 0, (<usize>terms * NR) << 2);
  if (!TRANS_B) {
    packRuns(to, b + ((<usize>k * N + column) << 2), (<usize>N) << 2, columns, terms, NR);
    return;
  }
  const from = b + ((<usize>column * K + k) << 2);
  let j = 0;
  for (; j + 4 <= columns; j += 4)
    packTransposed(to + ((<usize>j) << 2), from + ((<usize>j * K) << 2), (<usize>K) << 2, terms, NR);
  for (; j < columns; j++) packRow(to + ((<usize>j) << 2), from + ((<usize>j * K) << 2), terms, NR);
}

/** Runs of `count` floats, `stride` bytes apart, to runs `width` apart. */
function packRuns(to: usize, from: usize, stride: usize, count: i32, terms: i32, width: i32): void {
  const step = (<usize>width) << 2;
  if (count === 8) {
    for (let k = 0; k < terms; k++) {
      v128.store(to, v128.load(from));
      v128.store(to, v128.load(from, 16), 16);
      to += step;
      from += stride;
    }
  } else if (count === 6) {
    for (let k = 0; k < terms; k++) {
      v128.store(to, v128.load(from));
      v128.store_lane<f64>(to, v128.load64_zero(from, 16), 0, 16);
      to += step;
      from += stride;
    }
  } else if (count === 4) {
    for (let k = 0; k < terms; k++) {
      v128.store(to, v128.load(from));
      to += step;
      from += stride;
    }
  } else {
    for (let k = 0; k < terms; k++) {
      for (let i: usize = 0; i < (<usize>count) << 2; i += 4) store<f32>(to + i, load<f32>(from + i));
      to += step;
      from += stride;
    }
  }
}

/** Four rows, `stride` bytes apart, to the first four places of runs `width` apart. */
function packTransposed(to: usize, from: usize, stride: usize, terms: i32, width: i32): void {
  const step = (<usize>width) << 2;
  const second = from + stride;
  const third = second + stride;
  const fourth = third + stride;
  let k: usize = 0;
  const whole = ((<usize>terms) >> 2) << 4;
  for (; k < whole; k += 16) {
    const a = v128.load(from + k);
    const b = v128.load(second + k);
    const c = v128.load(third + k);
    const d = v128.load(fourth + k);
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
    v128.store(to, v128.shuffle<f64>(ab, cd, 0, 2));
    v128.store(to + step, v128.shuffle<f64>(ab, cd, 1, 3));
    const ab2 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const cd2 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
    v128.store(to + 2 * step, v128.shuffle<f64>(ab2, cd2, 0, 2));
    v128.store(to + 3 * step, v128.shuffle<f64>(ab2, cd2, 1, 3));
    to += 4 * step;
  }
  for (; k < (<usize>terms) << 2; k += 4) {
    store<f32>(to, load<f32>(from + k));
    store<f32>(to, load<f32>(second + k), 4);
    store<f32>(to, load<f32>(third + k), 8);
    store<f32>(to, load<f32>(fourth + k), 12);
    to += step;
  }
}

function packRow(to: usize, from: usize, terms: i32, width: i32): void {
  const step = (<usize>width) << 2;
  for (let k = 0; k < terms; k++) {
    store<f32>(to, load<f32>(from));
    to += step;
    from += 4;
  }
}

/** The MR x NR sums over `terms` of two packed panels, to `sums`. */
export function tile(sums: usize, a: usize, b: usize, terms: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) tileOf6(sums, a, b, terms);
  else tileOf4(sums, a, b, terms);
}

function tileOf6(sums: usize, a: usize, b: usize, terms: i32): void {
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0);
  let c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0);
  let c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0);
  let c41 = f32x4.splat(0);
  let c50 = f32x4.splat(0);
  let c51 = f32x4.splat(0);
  // Not unrolled: that costs registers, and halves the speed.
  for (let k = terms; k > 0; k--) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let row = v128.load_splat<f32>(a);
    c00 = madd(row, b0, c00);
    c01 = madd(row, b1, c01);
    row = v128.load_splat<f32>(a, 4);
    c10 = madd(row, b0, c10);
    c11 = madd(row, b1, c11);
    row = v128.load_splat<f32>(a, 8);
    c20 = madd(row, b0, c20);
    c21 = madd(row, b1, c21);
    row = v128.load_splat<f32>(a, 12);
    c30 = madd(row, b0, c30);
    c31 = madd(row, b1, c31);
    row = v128.load_splat<f32>(a, 16);
    c40 = madd(row, b0, c40);
    c41 = madd(row, b1, c41);
    row = v128.load_splat<f32>(a, 20);
    c50 = madd(row, b0, c50);
    c51 = madd(row, b1, c51);
    a += 24;
    b += 32;
  }
  v128.store(sums, c00);
  v128.store(sums, c01, 16);
  v128.store(sums, c10, 32);
  v128.store(sums, c11, 48);
  v128.store(sums, c20, 64);
  v128.store(sums, c21, 80);
  v128.store(sums, c30, 96);
  v128.store(sums, c31, 112);
  v128.store(sums, c40, 128);
  v128.store(sums, c41, 144);
  v128.store(sums, c50, 160);
  v128.store(sums, c51, 176);
}

function tileOf4(sums: usize, a: usize, b: usize, terms: i32): void {
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0);
  let c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0);
  let c31 = f32x4.splat(0);
  for (let k = terms; k > 0; k--) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let row = v128.load_splat<f32>(a);
    c00 = madd(row, b0, c00);
    c01 = madd(row, b1, c01);
    row = v128.load_splat<f32>(a, 4);
    c10 = madd(row, b0, c10);
    c11 = madd(row, b1, c11);
    row = v128.load_splat<f32>(a, 8);
    c20 = madd(row, b0, c20);
    c21 = madd(row, b1, c21);
    row = v128.load_splat<f32>(a, 12);
    c30 = madd(row, b0, c30);
    c31 = madd(row, b1, c31);
    a += 16;
    b += 32;
  }
  v128.store(sums, c00);
  v128.store(sums, c01, 16);
  v128.store(sums, c10, 32);
  v128.store(sums, c11, 48);
  v128.store(sums, c20, 64);
  v128.store(sums, c21, 80);
  v128.store(sums, c30, 96);
  v128.store(sums, c31, 112);
}
