// Products with few rows or few columns: every element of the large factor is used so seldom that packing it costs more
// than it saves. It is read once, in the order of its memory, and the sums stay in the first cache. Few columns are few
// rows of the transposed product.

import { dot } from '../wasm/rows.as.ts';
import { loadSome, madd } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';
import { NR, storeRow } from './store-tile.as.ts';

/** Rows (or columns) that one pass over the large factor serves. */
const FEW: i32 = 8;
/** Up to so many rows, several passes over a large factor that lies as it is needed cost less than packing it. */
const MOST_ROWS: i32 = 48;
/** Less than so many columns (or rows) are not worth the start of a pass. */
const LEAST_MANY: i32 = 32;
/** But to so few rows (or columns) a tile would be mostly empty. */
const FEWEST: i32 = 2;
/** Sums that are made at a time. */
const SUMS: i32 = 4096;
/** Terms of dot products at a time, so that four rows of them stay in the first cache. */
const DEPTH: i32 = 1024;

/** Whether matmulRows is faster than packing. */
export function isNarrow(M: i32, N: i32, TRANS_B: i32): boolean {
  if (N <= FEW && N < M) return M >= LEAST_MANY || N <= FEWEST;
  return M <= (TRANS_B ? FEW : MOST_ROWS) && (N >= LEAST_MANY || M <= FEWEST);
}

/**
 * Of one product; see matmul.ts. `sums`: scratch for SUMS + FEW x DEPTH + NR floats. Threads share what is many:
 * columns, or rows where there are FEW columns.
 */
export function matmulRows(
  sums: usize,
  a: usize,
  b: usize,
  bias: usize,
  residual: usize,
  out: usize,
  M: i32,
  N: i32,
  K: i32,
  TRANS_A: i32,
  TRANS_B: i32,
  ACT: i32,
  ACCUMULATE: i32,
  SCALE: f32,
  part: i32,
  parts: i32,
): void {
  const swapped = N < M && N <= FEW;
  const few = swapped ? N : M;
  const many = swapped ? M : N;
  const small = swapped ? b : a;
  const large = swapped ? a : b;
  // Whether the terms of a row of the small factor, and of a column of the large one, lie side by side.
  const runs = swapped ? TRANS_B !== 0 : TRANS_A === 0;
  const dotted = swapped ? TRANS_A === 0 : TRANS_B !== 0;
  const down: usize = runs ? (<usize>K) << 2 : 4;
  const along: usize = runs ? 4 : (<usize>few) << 2;
  const blocks = (many + NR - 1) / NR;
  const to = min(many, firstOf(blocks, part + 1, parts) * NR);
  for (let row = 0; row < few; row += FEW) {
    const rows = min(FEW, few - row);
    let width = SUMS;
    for (let n = 1; n < rows; n <<= 1) width >>= 1;
    width = min(width, (to - firstOf(blocks, part, parts) * NR + 3) & ~3);
    const from = small + <usize>row * down;
    for (let column = firstOf(blocks, part, parts) * NR; column < to; column += width) {
      const columns = min(width, to - column);
      memory.fill(sums, 0, (<usize>rows * width) << 2);
      if (dotted) dots(sums, width, from, down, along, rows, large + ((<usize>column * K) << 2), columns, K);
      else sweep(sums, width, from, down, along, rows, large + ((<usize>column) << 2), (<usize>many) << 2, columns, K);
      if (swapped)
        storeTransposed(sums, width, row, rows, column, columns, bias, residual, out, N, ACT, ACCUMULATE, SCALE);
      else
        for (let i = 0; i < rows; i++) {
          const place = (<usize>(row + i) * N + column) << 2;
          storeRow(
            sums + ((<usize>i * width) << 2),
            out + place,
            columns,
            SCALE,
            ACT,
            false,
            ACCUMULATE !== 0,
            bias ? bias + ((<usize>column) << 2) : 0,
            residual ? residual + place : 0,
          );
        }
    }
  }
}

/** `rows` columns of out from `row` on, `columns` rows of it from `column` on. */
function storeTransposed(
  sums: usize,
  width: i32,
  row: i32,
  rows: i32,
  column: i32,
  columns: i32,
  bias: usize,
  residual: usize,
  out: usize,
  N: i32,
  ACT: i32,
  ACCUMULATE: i32,
  SCALE: f32,
): void {
  const accumulate = ACCUMULATE !== 0;
  if (N === 1 && !bias) {
    const place = (<usize>column) << 2;
    storeRow(sums, out + place, columns, SCALE, ACT, false, accumulate, 0, residual ? residual + place : 0);
    return;
  }
  const gathered = sums + ((<usize>(SUMS + FEW * DEPTH)) << 2);
  for (let j = 0; j < columns; j++) {
    const from = sums + ((<usize>j) << 2);
    for (let i = 0; i < rows; i++)
      store<f32>(gathered + ((<usize>i) << 2), load<f32>(from + ((<usize>i * width) << 2)));
    const place = (<usize>(column + j) * N + row) << 2;
    storeRow(
      gathered,
      out + place,
      rows,
      SCALE,
      ACT,
      false,
      accumulate,
      bias ? bias + ((<usize>row) << 2) : 0,
      residual ? residual + place : 0,
    );
  }
}

/** The large factor as rows of `columns` floats, `stride` bytes apart: adds some at a time, times one factor each. */
function sweep(
  sums: usize,
  width: i32,
  a: usize,
  down: usize,
  along: usize,
  rows: i32,
  b: usize,
  stride: usize,
  columns: i32,
  K: i32,
): void {
  const next = (<usize>width) << 2;
  const whole = (<usize>(columns >> 2)) << 4;
  let x = a;
  let y = b;
  let k = K;
  if (rows === 1) {
    for (; k >= 8; k -= 8) {
      addEight(sums, x, along, y, stride, whole);
      x += along << 3;
      y += stride << 3;
    }
  } else {
    for (; k >= 4; k -= 4) {
      let i = 0;
      for (; i + 2 <= rows; i += 2)
        addFourToTwo(sums + <usize>i * next, next, x + <usize>i * down, down, along, y, stride, whole);
      if (i < rows) addFour(sums + <usize>i * next, x + <usize>i * down, along, y, stride, whole);
      x += along << 2;
      y += stride << 2;
    }
  }
  for (; k > 0; k--) {
    for (let i = 0; i < rows; i++) addOne(sums + <usize>i * next, x + <usize>i * down, y, whole);
    x += along;
    y += stride;
  }
  if (columns & 3)
    for (let i = 0; i < rows; i += 4)
      addSome(
        sums + <usize>i * next + whole,
        next,
        a + <usize>i * down,
        down,
        along,
        min(4, rows - i),
        b + whole,
        stride,
        columns & 3,
        K,
      );
}

/** Up to four rows of sums, and the last `columns` (1 to 3) of them. A row that is not there is computed as another. */
function addSome(
  sums: usize,
  next: usize,
  a: usize,
  down: usize,
  along: usize,
  rows: i32,
  b: usize,
  stride: usize,
  columns: i32,
  K: i32,
): void {
  const down1 = rows > 1 ? down : 0;
  const down2 = rows > 2 ? 2 * down : 0;
  const down3 = rows > 3 ? 3 * down : 0;
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let c2 = f32x4.splat(0);
  let c3 = f32x4.splat(0);
  for (let k = K; k > 0; k--) {
    const values = loadSome(b, columns);
    c0 = madd(v128.load_splat<f32>(a), values, c0);
    c1 = madd(v128.load_splat<f32>(a + down1), values, c1);
    c2 = madd(v128.load_splat<f32>(a + down2), values, c2);
    c3 = madd(v128.load_splat<f32>(a + down3), values, c3);
    a += along;
    b += stride;
  }
  v128.store(sums, c0);
  if (rows > 1) v128.store(sums + next, c1);
  if (rows > 2) v128.store(sums + 2 * next, c2);
  if (rows > 3) v128.store(sums + 3 * next, c3);
}

/** One row of sums plus eight rows of b, times a factor each. */
function addEight(sums: usize, a: usize, along: usize, b: usize, stride: usize, bytes: usize): void {
  const a0 = v128.load_splat<f32>(a);
  const a1 = v128.load_splat<f32>(a + along);
  const a2 = v128.load_splat<f32>(a + 2 * along);
  const a3 = v128.load_splat<f32>(a + 3 * along);
  const a4 = v128.load_splat<f32>(a + 4 * along);
  const a5 = v128.load_splat<f32>(a + 5 * along);
  const a6 = v128.load_splat<f32>(a + 6 * along);
  const a7 = v128.load_splat<f32>(a + 7 * along);
  const b1 = b + stride;
  const b2 = b1 + stride;
  const b3 = b2 + stride;
  const b4 = b3 + stride;
  const b5 = b4 + stride;
  const b6 = b5 + stride;
  const b7 = b6 + stride;
  for (let at: usize = 0; at < bytes; at += 16) {
    let sum = madd(a0, v128.load(b + at), v128.load(sums + at));
    sum = madd(a1, v128.load(b1 + at), sum);
    sum = madd(a2, v128.load(b2 + at), sum);
    sum = madd(a3, v128.load(b3 + at), sum);
    sum = madd(a4, v128.load(b4 + at), sum);
    sum = madd(a5, v128.load(b5 + at), sum);
    sum = madd(a6, v128.load(b6 + at), sum);
    v128.store(sums + at, madd(a7, v128.load(b7 + at), sum));
  }
}

function addFour(sums: usize, a: usize, along: usize, b: usize, stride: usize, bytes: usize): void {
  const a0 = v128.load_splat<f32>(a);
  const a1 = v128.load_splat<f32>(a + along);
  const a2 = v128.load_splat<f32>(a + 2 * along);
  const a3 = v128.load_splat<f32>(a + 3 * along);
  const b1 = b + stride;
  const b2 = b1 + stride;
  const b3 = b2 + stride;
  for (let at: usize = 0; at < bytes; at += 16) {
    let sum = madd(a0, v128.load(b + at), v128.load(sums + at));
    sum = madd(a1, v128.load(b1 + at), sum);
    sum = madd(a2, v128.load(b2 + at), sum);
    v128.store(sums + at, madd(a3, v128.load(b3 + at), sum));
  }
}

/** Two rows of sums, `next` bytes apart, plus four rows of b: more does not fit in registers. */
function addFourToTwo(
  sums: usize,
  next: usize,
  a: usize,
  down: usize,
  along: usize,
  b: usize,
  stride: usize,
  bytes: usize,
): void {
  const a00 = v128.load_splat<f32>(a);
  const a01 = v128.load_splat<f32>(a + along);
  const a02 = v128.load_splat<f32>(a + 2 * along);
  const a03 = v128.load_splat<f32>(a + 3 * along);
  const second = a + down;
  const a10 = v128.load_splat<f32>(second);
  const a11 = v128.load_splat<f32>(second + along);
  const a12 = v128.load_splat<f32>(second + 2 * along);
  const a13 = v128.load_splat<f32>(second + 3 * along);
  const b1 = b + stride;
  const b2 = b1 + stride;
  const b3 = b2 + stride;
  const below = sums + next;
  for (let at: usize = 0; at < bytes; at += 16) {
    let values = v128.load(b + at);
    let sum0 = madd(a00, values, v128.load(sums + at));
    let sum1 = madd(a10, values, v128.load(below + at));
    values = v128.load(b1 + at);
    sum0 = madd(a01, values, sum0);
    sum1 = madd(a11, values, sum1);
    values = v128.load(b2 + at);
    sum0 = madd(a02, values, sum0);
    sum1 = madd(a12, values, sum1);
    values = v128.load(b3 + at);
    v128.store(sums + at, madd(a03, values, sum0));
    v128.store(below + at, madd(a13, values, sum1));
  }
}

function addOne(sums: usize, a: usize, b: usize, bytes: usize): void {
  const factor = v128.load_splat<f32>(a);
  for (let at: usize = 0; at < bytes; at += 16)
    v128.store(sums + at, madd(factor, v128.load(b + at), v128.load(sums + at)));
}

/** The large factor as one row of K terms for each of `columns` sums. */
function dots(
  sums: usize,
  width: i32,
  a: usize,
  down: usize,
  along: usize,
  rows: i32,
  b: usize,
  columns: i32,
  K: i32,
): void {
  const packed = sums + ((<usize>SUMS) << 2);
  const stride = (<usize>K) << 2;
  for (let k = 0; k < K; k += DEPTH) {
    const terms = min(DEPTH, K - k);
    let x = a + ((<usize>k) << 2);
    let apart = down;
    if (along !== 4) {
      gather(packed, a + <usize>k * along, down, along, rows, terms);
      x = packed;
      apart = (<usize>DEPTH) << 2;
    }
    const y = b + ((<usize>k) << 2);
    let j = 0;
    for (; j + 4 <= columns; j += 4) {
      const at = sums + ((<usize>j) << 2);
      const from = y + <usize>j * stride;
      let i = 0;
      for (; i + 2 <= rows; i += 2)
        addTwoByFour(at + ((<usize>i * width) << 2), width, x + <usize>i * apart, apart, from, stride, terms);
      if (i < rows) addOneByFour(at + ((<usize>i * width) << 2), x + <usize>i * apart, from, stride, terms);
    }
    for (; j < columns; j++) {
      for (let i = 0; i < rows; i++) {
        const at = sums + ((<usize>i * width + j) << 2);
        store<f32>(at, load<f32>(at) + dot(x + <usize>i * apart, y + <usize>j * stride, terms));
      }
    }
  }
}

/** Rows of `terms` floats, DEPTH apart, from `along` bytes apart. */
function gather(to: usize, from: usize, down: usize, along: usize, rows: i32, terms: i32): void {
  for (let i = 0; i < rows; i++) {
    let x = from + <usize>i * down;
    const row = to + ((<usize>i * DEPTH) << 2);
    for (let k: usize = 0; k < (<usize>terms) << 2; k += 4) {
      store<f32>(row + k, load<f32>(x));
      x += along;
    }
  }
}

/** The sums of each of the four, side by side. */
function totals(c0: v128, c1: v128, c2: v128, c3: v128): v128 {
  const low = f32x4.add(v128.shuffle<f32>(c0, c1, 0, 4, 1, 5), v128.shuffle<f32>(c0, c1, 2, 6, 3, 7));
  const high = f32x4.add(v128.shuffle<f32>(c2, c3, 0, 4, 1, 5), v128.shuffle<f32>(c2, c3, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f64>(low, high, 0, 2), v128.shuffle<f64>(low, high, 1, 3));
}

/** Adds the products of two rows of a, `down` bytes apart, with four of b. */
function addTwoByFour(sums: usize, width: i32, a: usize, down: usize, b: usize, stride: usize, terms: i32): void {
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c02 = f32x4.splat(0);
  let c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c12 = f32x4.splat(0);
  let c13 = f32x4.splat(0);
  let second = a + down;
  let b1 = b + stride;
  let b2 = b1 + stride;
  let b3 = b2 + stride;
  let k = terms;
  for (; k > 0; k -= 4) {
    const some = k < 4;
    const x0 = some ? loadSome(a, k) : v128.load(a);
    const x1 = some ? loadSome(second, k) : v128.load(second);
    let y = some ? loadSome(b, k) : v128.load(b);
    c00 = madd(x0, y, c00);
    c10 = madd(x1, y, c10);
    y = some ? loadSome(b1, k) : v128.load(b1);
    c01 = madd(x0, y, c01);
    c11 = madd(x1, y, c11);
    y = some ? loadSome(b2, k) : v128.load(b2);
    c02 = madd(x0, y, c02);
    c12 = madd(x1, y, c12);
    y = some ? loadSome(b3, k) : v128.load(b3);
    c03 = madd(x0, y, c03);
    c13 = madd(x1, y, c13);
    a += 16;
    second += 16;
    b += 16;
    b1 += 16;
    b2 += 16;
    b3 += 16;
  }
  const below = sums + ((<usize>width) << 2);
  v128.store(sums, f32x4.add(v128.load(sums), totals(c00, c01, c02, c03)));
  v128.store(below, f32x4.add(v128.load(below), totals(c10, c11, c12, c13)));
}

/** Adds the products of one row of a with four of b. */
function addOneByFour(sums: usize, a: usize, b: usize, stride: usize, terms: i32): void {
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let c2 = f32x4.splat(0);
  let c3 = f32x4.splat(0);
  let b1 = b + stride;
  let b2 = b1 + stride;
  let b3 = b2 + stride;
  for (let k = terms; k > 0; k -= 4) {
    const some = k < 4;
    const x = some ? loadSome(a, k) : v128.load(a);
    c0 = madd(x, some ? loadSome(b, k) : v128.load(b), c0);
    c1 = madd(x, some ? loadSome(b1, k) : v128.load(b1), c1);
    c2 = madd(x, some ? loadSome(b2, k) : v128.load(b2), c2);
    c3 = madd(x, some ? loadSome(b3, k) : v128.load(b3), c3);
    a += 16;
    b += 16;
    b1 += 16;
    b2 += 16;
    b3 += 16;
  }
  v128.store(sums, f32x4.add(v128.load(sums), totals(c0, c1, c2, c3)));
}
