// What attention packs, and the products of the packed. A panel holds 8 rows (queries where their gradient or output is
// made, keys where theirs is) as the lanes of two vectors: [entries, 8]. The other side, walked in blocks, is packed
// twice: as columns [entries, block] for the scores, as rows [block, entries] for the sums. Scores then come as
// [block, 8], which is what the sums take, so nothing is transposed in between, and the softmax works lane by lane.

import { loadSome, madd, storeSome } from '../wasm/simd.as.ts';

/** Rows of a panel. */
export const LANES: i32 = 8;
/** Bytes between two entries of a panel. */
export const STEP: usize = 32;
/** Rows of sums that stay in registers, as in matmul/tile.as.ts. */
const MOST_ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;

/** Floats of a row of `entries` when its last vector is filled up. */
export function padded(entries: i32): i32 {
  return (entries + 3) & ~3;
}

/**
 * sums [rows, 8] = the sums over `terms` of a [terms, rows] times panel [terms, 8]; `step` bytes lie between two terms
 * of a, 192 bytes of zeros at `zeros`. If rows is no multiple of 4, up to 3 rows more are read and written.
 */
export function product(sums: usize, zeros: usize, a: usize, step: usize, panel: usize, terms: i32, rows: i32): void {
  while (rows > 0) {
    const most = rowsOfTile(rows);
    if (most === 6) sumsOf6(sums, zeros, a, step, panel, terms);
    else sumsOf4(sums, zeros, a, step, panel, terms);
    rows -= most;
    a += (<usize>most) << 2;
    sums += <usize>most * STEP;
  }
}

/** The same, added to sums. */
export function addProduct(sums: usize, a: usize, step: usize, panel: usize, terms: i32, rows: i32): void {
  while (rows > 0) {
    const most = rowsOfTile(rows);
    if (most === 6) sumsOf6(sums, sums, a, step, panel, terms);
    else sumsOf4(sums, sums, a, step, panel, terms);
    rows -= most;
    a += (<usize>most) << 2;
    sums += <usize>most * STEP;
  }
}

/** Multiples of 4 are cut into tiles of 6 and 4 without a rest. */
function rowsOfTile(rows: i32): i32 {
  return MOST_ROWS === 6 && (rows > 8 || rows === 6 || rows === 5) ? 6 : 4;
}

// Tiles have two callers each, so they stay functions of their own: inside other loops, V8 unrolls theirs, and spills.

function sumsOf6(sums: usize, from: usize, a: usize, step: usize, panel: usize, terms: i32): void {
  let c00 = v128.load(from);
  let c01 = v128.load(from, 16);
  let c10 = v128.load(from, 32);
  let c11 = v128.load(from, 48);
  let c20 = v128.load(from, 64);
  let c21 = v128.load(from, 80);
  let c30 = v128.load(from, 96);
  let c31 = v128.load(from, 112);
  let c40 = v128.load(from, 128);
  let c41 = v128.load(from, 144);
  let c50 = v128.load(from, 160);
  let c51 = v128.load(from, 176);
  for (let k = terms; k > 0; k--) {
    const b0 = v128.load(panel);
    const b1 = v128.load(panel, 16);
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
    a += step;
    panel += STEP;
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

function sumsOf4(sums: usize, from: usize, a: usize, step: usize, panel: usize, terms: i32): void {
  let c00 = v128.load(from);
  let c01 = v128.load(from, 16);
  let c10 = v128.load(from, 32);
  let c11 = v128.load(from, 48);
  let c20 = v128.load(from, 64);
  let c21 = v128.load(from, 80);
  let c30 = v128.load(from, 96);
  let c31 = v128.load(from, 112);
  for (let k = terms; k > 0; k--) {
    const b0 = v128.load(panel);
    const b1 = v128.load(panel, 16);
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
    a += step;
    panel += STEP;
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

/**
 * `rows` rows of `entries` floats, `stride` bytes apart, times `scale`, to columns: entry d of row r at
 * to + d step + 4 r. The places up to the next multiple of 4 rows are filled with the last row.
 */
export function packColumns(
  to: usize,
  step: usize,
  from: usize,
  stride: usize,
  rows: i32,
  entries: i32,
  scale: f32,
): void {
  const factor = f32x4.splat(scale);
  const whole = ((<usize>entries) >> 2) << 4;
  const end = (<usize>entries) << 2;
  for (let row = 0; row < rows; row += 4) {
    const second = from + (row + 1 < rows ? stride : 0);
    const third = second + (row + 2 < rows ? stride : 0);
    const fourth = third + (row + 3 < rows ? stride : 0);
    let place = to;
    let d: usize = 0;
    for (; d < whole; d += 16) {
      const a = v128.load(from + d);
      const b = v128.load(second + d);
      const c = v128.load(third + d);
      const e = v128.load(fourth + d);
      const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
      const ce = v128.shuffle<f32>(c, e, 0, 4, 1, 5);
      const ab2 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
      const ce2 = v128.shuffle<f32>(c, e, 2, 6, 3, 7);
      v128.store(place, f32x4.mul(factor, v128.shuffle<f64>(ab, ce, 0, 2)));
      v128.store(place + step, f32x4.mul(factor, v128.shuffle<f64>(ab, ce, 1, 3)));
      place += 2 * step;
      v128.store(place, f32x4.mul(factor, v128.shuffle<f64>(ab2, ce2, 0, 2)));
      v128.store(place + step, f32x4.mul(factor, v128.shuffle<f64>(ab2, ce2, 1, 3)));
      place += 2 * step;
    }
    for (; d < end; d += 4) {
      store<f32>(place, scale * load<f32>(from + d));
      store<f32>(place, scale * load<f32>(second + d), 4);
      store<f32>(place, scale * load<f32>(third + d), 8);
      store<f32>(place, scale * load<f32>(fourth + d), 12);
      place += step;
    }
    from = fourth + stride;
    to += 16;
  }
}

/** `rows` rows of `entries` floats, `stride` bytes apart, to rows of padded(entries), with zeros behind. */
export function packRows(to: usize, from: usize, stride: usize, rows: i32, entries: i32): void {
  const rest = entries & 3;
  const whole = ((<usize>entries) >> 2) << 4;
  for (let row = 0; row < rows; row++) {
    for (let d: usize = 0; d < whole; d += 16) {
      v128.store(to, v128.load(from + d));
      to += 16;
    }
    if (rest) {
      v128.store(to, loadSome(from + whole, rest));
      to += 16;
    }
    from += stride;
  }
}

/** What packColumns did, back: the first `rows` lanes of a panel, times `factor` (two vectors), (+)= to rows. */
export function unpackPanel(
  to: usize,
  stride: usize,
  panel: usize,
  rows: i32,
  entries: i32,
  factor0: v128,
  factor1: v128,
  accumulate: boolean,
): void {
  unpackHalf(to, stride, panel, min(rows, 4), entries, factor0, accumulate);
  if (rows > 4) unpackHalf(to + 4 * stride, stride, panel + 16, rows - 4, entries, factor1, accumulate);
}

function unpackHalf(
  to: usize,
  stride: usize,
  panel: usize,
  rows: i32,
  entries: i32,
  factor: v128,
  accumulate: boolean,
): void {
  for (let d = 0; d < entries; d += 4) {
    const a = f32x4.mul(factor, v128.load(panel));
    const b = f32x4.mul(factor, v128.load(panel, 32));
    const c = f32x4.mul(factor, v128.load(panel, 64));
    const e = f32x4.mul(factor, v128.load(panel, 96));
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const ce = v128.shuffle<f32>(c, e, 0, 4, 1, 5);
    const ab2 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const ce2 = v128.shuffle<f32>(c, e, 2, 6, 3, 7);
    const count = entries - d;
    storeRow(to, v128.shuffle<f64>(ab, ce, 0, 2), count, accumulate);
    if (rows > 1) storeRow(to + stride, v128.shuffle<f64>(ab, ce, 1, 3), count, accumulate);
    if (rows > 2) storeRow(to + 2 * stride, v128.shuffle<f64>(ab2, ce2, 0, 2), count, accumulate);
    if (rows > 3) storeRow(to + 3 * stride, v128.shuffle<f64>(ab2, ce2, 1, 3), count, accumulate);
    to += 16;
    panel += 128;
  }
}

function storeRow(to: usize, v: v128, count: i32, accumulate: boolean): void {
  if (count >= 4) v128.store(to, accumulate ? f32x4.add(v, v128.load(to)) : v);
  else storeSome(to, accumulate ? f32x4.add(v, loadSome(to, count)) : v, count);
}
