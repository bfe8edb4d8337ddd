// Row sums of out dOut; see attention-delta.ts. Four rows are the lanes of a vector and are added up in the order in
// which the backward kernels add up dP: so a query that sees one key, for which both are equal, has a gradient of 0.

import { madd, storeSome } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function attentionDelta(
  out: usize,
  dOut: usize,
  delta: usize,
  B: i32,
  HQ: i32,
  TQ: i32,
  DV: i32,
  O_OFF: i32,
  O_B: i32,
  O_H: i32,
  O_T: i32,
  part: i32,
  parts: i32,
): void {
  const stride = (<usize>O_T) << 2;
  const end = firstOf(B * HQ * TQ, part + 1, parts);
  let row = firstOf(B * HQ * TQ, part, parts);
  while (row < end) {
    const head = row / TQ;
    const t = row % TQ;
    const rows = min(4, min(TQ - t, end - row));
    const at = (<usize>(O_OFF + (head / HQ) * O_B + (head % HQ) * O_H + t * O_T)) << 2;
    const sums = rowSums(out + at, dOut + at, stride, rows, DV);
    const to = delta + ((<usize>row) << 2);
    if (rows === 4) v128.store(to, sums);
    else storeSome(to, sums, rows);
    row += rows;
  }
}

/** Of 4 rows; the last of `rows` stands in for those behind. */
function rowSums(x: usize, y: usize, stride: usize, rows: i32, entries: i32): v128 {
  const second: usize = rows > 1 ? stride : 0;
  const third = second + (rows > 2 ? stride : 0);
  const fourth = third + (rows > 3 ? stride : 0);
  let sums = f32x4.splat(0);
  let d = 0;
  for (; d + 4 <= entries; d += 4) {
    const a = v128.load(x);
    const b = v128.load(x + second);
    const c = v128.load(x + third);
    const e = v128.load(x + fourth);
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const ce = v128.shuffle<f32>(c, e, 0, 4, 1, 5);
    const ab2 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const ce2 = v128.shuffle<f32>(c, e, 2, 6, 3, 7);
    const a2 = v128.load(y);
    const b2 = v128.load(y + second);
    const c2 = v128.load(y + third);
    const e2 = v128.load(y + fourth);
    const ab3 = v128.shuffle<f32>(a2, b2, 0, 4, 1, 5);
    const ce3 = v128.shuffle<f32>(c2, e2, 0, 4, 1, 5);
    const ab4 = v128.shuffle<f32>(a2, b2, 2, 6, 3, 7);
    const ce4 = v128.shuffle<f32>(c2, e2, 2, 6, 3, 7);
    sums = madd(v128.shuffle<f64>(ab, ce, 0, 2), v128.shuffle<f64>(ab3, ce3, 0, 2), sums);
    sums = madd(v128.shuffle<f64>(ab, ce, 1, 3), v128.shuffle<f64>(ab3, ce3, 1, 3), sums);
    sums = madd(v128.shuffle<f64>(ab2, ce2, 0, 2), v128.shuffle<f64>(ab4, ce4, 0, 2), sums);
    sums = madd(v128.shuffle<f64>(ab2, ce2, 1, 3), v128.shuffle<f64>(ab4, ce4, 1, 3), sums);
    x += 16;
    y += 16;
  }
  for (; d < entries; d++) {
    sums = madd(column(x, second, third, fourth), column(y, second, third, fourth), sums);
    x += 4;
    y += 4;
  }
  return sums;
}

function column(at: usize, second: usize, third: usize, fourth: usize): v128 {
  const two = v128.load_lane<f32>(at + second, v128.load32_zero(at), 1);
  return v128.load_lane<f32>(at + fourth, v128.load_lane<f32>(at + third, two, 2), 3);
}
