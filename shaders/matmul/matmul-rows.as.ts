// Products of a few rows: every element of b is used so seldom that packing it costs more than it saves.

import { dot } from '../wasm/rows.as.ts';
import { madd } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';
import { NR, storeTile } from './store-tile.as.ts';

/** Rows that one pass over b serves. */
export const ROWS: i32 = 4;

/** Of one product; see matmul.ts. `sums`: ROWS x NR floats of scratch. Threads share the columns. */
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
  const blocks = (N + NR - 1) / NR;
  const to = min(N, firstOf(blocks, part + 1, parts) * NR);
  for (let row = 0; row < M; row += ROWS) {
    const rows = min(ROWS, M - row);
    for (let column = firstOf(blocks, part, parts) * NR; column < to; column += NR) {
      const columns = min(NR, to - column);
      // From row to row of op(a), and from term to term.
      const from = a + ((TRANS_A ? <usize>row : <usize>row * K) << 2);
      const down: usize = TRANS_A ? 4 : (<usize>K) << 2;
      const along: usize = TRANS_A ? (<usize>M) << 2 : 4;
      if (TRANS_B) dots(sums, from, down, along, rows, b + ((<usize>column * K) << 2), columns, K);
      else if (columns === NR) sweep(sums, from, down, along, rows, b + ((<usize>column) << 2), (<usize>N) << 2, K);
      else edge(sums, from, down, along, rows, b + ((<usize>column) << 2), (<usize>N) << 2, columns, K);
      const place = (<usize>row * N + column) << 2;
      storeTile(
        sums,
        out + place,
        rows,
        columns,
        N,
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

/** b as [K, N], NR columns of it. A row that is not there is computed as another one. */
function sweep(sums: usize, a: usize, down: usize, along: usize, rows: i32, b: usize, stride: usize, K: i32): void {
  if (rows === 1) {
    let c0 = f32x4.splat(0);
    let c1 = f32x4.splat(0);
    for (let k = K; k > 0; k--) {
      const value = v128.load_splat<f32>(a);
      c0 = madd(value, v128.load(b), c0);
      c1 = madd(value, v128.load(b, 16), c1);
      a += along;
      b += stride;
    }
    v128.store(sums, c0);
    v128.store(sums, c1, 16);
    return;
  }
  let second = a + down;
  let third = rows > 2 ? second + down : a;
  let fourth = rows > 3 ? third + down : a;
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0);
  let c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0);
  let c31 = f32x4.splat(0);
  for (let k = K; k > 0; k--) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let value = v128.load_splat<f32>(a);
    c00 = madd(value, b0, c00);
    c01 = madd(value, b1, c01);
    value = v128.load_splat<f32>(second);
    c10 = madd(value, b0, c10);
    c11 = madd(value, b1, c11);
    value = v128.load_splat<f32>(third);
    c20 = madd(value, b0, c20);
    c21 = madd(value, b1, c21);
    value = v128.load_splat<f32>(fourth);
    c30 = madd(value, b0, c30);
    c31 = madd(value, b1, c31);
    a += along;
    second += along;
    third += along;
    fourth += along;
    b += stride;
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

/** The last columns of b as [K, N]: fewer than NR. */
function edge(
  sums: usize,
  a: usize,
  down: usize,
  along: usize,
  rows: i32,
  b: usize,
  stride: usize,
  columns: i32,
  K: i32,
): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum: f32 = 0;
      let x = a + <usize>i * down;
      let y = b + ((<usize>j) << 2);
      for (let k = K; k > 0; k--) {
        sum += load<f32>(x) * load<f32>(y);
        x += along;
        y += stride;
      }
      store<f32>(sums + ((<usize>(i * NR + j)) << 2), sum);
    }
  }
}

/** b as [N, K]: rows of b times rows of op(a). */
function dots(sums: usize, a: usize, down: usize, along: usize, rows: i32, b: usize, columns: i32, K: i32): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const x = a + <usize>i * down;
      const y = b + ((<usize>j * K) << 2);
      store<f32>(sums + ((<usize>(i * NR + j)) << 2), along === 4 ? dot(x, y, K) : stridedDot(x, along, y, K));
    }
  }
}

function stridedDot(x: usize, along: usize, y: usize, K: i32): f32 {
  let sum: f32 = 0;
  for (let k = K; k > 0; k--) {
    sum += load<f32>(x) * load<f32>(y);
    x += along;
    y += 4;
  }
  return sum;
}
