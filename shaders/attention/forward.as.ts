// Attention of all heads: panels of 8 queries against blocks of keys, whose packing up to MOST_PANELS panels share.
// Source: Dao 2023, arXiv 2307.08691, algorithm 1.

import { log } from '../wasm/logarithm.as.ts';
import { firstOf, scratch } from '../wasm/threads.as.ts';
import { addProduct, LANES, packColumns, packRows, padded, product, STEP, unpackPanel } from './panels.as.ts';
import { attendOne } from './single-query.as.ts';
import { hide, keysSeen, seeKeys, seenFrom, seenTo } from './sight.as.ts';
import { blockRows, panelsWithin, SCRATCH_START, ZERO_BYTES } from './space.as.ts';
import { NONE, weigh } from './weights.as.ts';

/** Largest score and sum of weights of every lane, two vectors each. */
const STATE_BYTES: usize = 64;

export function forward(
  q: usize,
  k: usize,
  v: usize,
  out: usize,
  lse: usize,
  B: i32,
  HQ: i32,
  HKV: i32,
  TQ: i32,
  TK: i32,
  D: i32,
  DV: i32,
  SCALE: f32,
  Q_OFF: i32,
  Q_B: i32,
  Q_H: i32,
  Q_T: i32,
  K_OFF: i32,
  K_B: i32,
  K_H: i32,
  K_T: i32,
  V_OFF: i32,
  V_B: i32,
  V_H: i32,
  V_T: i32,
  O_OFF: i32,
  O_B: i32,
  O_H: i32,
  O_T: i32,
  part: i32,
  parts: i32,
): void {
  const panels = (TQ + LANES - 1) / LANES;
  const end = firstOf(B * HQ * panels, part + 1, parts);
  const block = blockRows(D, DV);
  const most = panelsWithin(block * (D + padded(DV)), block, D + padded(DV), STATE_BYTES);
  const seen = keysSeen(0, TK);
  const single = TQ === 1 && seen >= 0;
  let at = firstOf(B * HQ * panels, part, parts);
  while (at < end) {
    const head = at / panels;
    const b = head / HQ;
    const h = head % HQ;
    const hkv = (h * HKV) / HQ;
    const panel = at % panels;
    const count = min(min(most, panels - panel), end - at);
    const query = panel * LANES;
    const from = q + ((<usize>(Q_OFF + b * Q_B + h * Q_H + query * Q_T)) << 2);
    const keys = k + ((<usize>(K_OFF + b * K_B + hkv * K_H)) << 2);
    const values = v + ((<usize>(V_OFF + b * V_B + hkv * V_H)) << 2);
    const to = out + ((<usize>(O_OFF + b * O_B + h * O_H + query * O_T)) << 2);
    const row = lse + ((<usize>(head * TQ + query)) << 2);
    const kStride = (<usize>K_T) << 2;
    const vStride = (<usize>V_T) << 2;
    if (single) attendOne(scratch(), from, keys, values, to, row, seen, D, DV, SCALE, kStride, vStride);
    else
      run(
        from,
        keys,
        values,
        to,
        row,
        b,
        query,
        min(TQ - query, count * LANES),
        TK,
        D,
        DV,
        block,
        SCALE,
        (<usize>Q_T) << 2,
        kStride,
        vStride,
        (<usize>O_T) << 2,
      );
    at += count;
  }
}

/** `queries` queries of one head, from `query` on: q, out and lse are theirs, k and v the head's. Strides in bytes. */
function run(
  q: usize,
  k: usize,
  v: usize,
  out: usize,
  lse: usize,
  b: i32,
  query: i32,
  queries: i32,
  TK: i32,
  D: i32,
  DV: i32,
  block: i32,
  SCALE: f32,
  qStride: usize,
  kStride: usize,
  vStride: usize,
  outStride: usize,
): void {
  const width = padded(DV);
  const zeros = scratch();
  const scores = zeros + SCRATCH_START;
  const keys = scores + <usize>block * STEP;
  const values = keys + ((<usize>block * D) << 2);
  const panels = values + ((<usize>block * width) << 2);
  const panelBytes = <usize>(D + width) * STEP + STATE_BYTES;
  const sumsAt = <usize>D * STEP;
  const stateAt = sumsAt + <usize>width * STEP;
  const keyStep = (<usize>block) << 2;
  const valueStep = (<usize>width) << 2;
  memory.fill(zeros, 0, ZERO_BYTES);
  for (let i = 0; i < queries; i += LANES) {
    const panel = panels + <usize>(i / LANES) * panelBytes;
    packColumns(panel, STEP, q + <usize>i * qStride, qStride, min(LANES, queries - i), D, SCALE);
    memory.fill(panel + sumsAt, 0, <usize>width * STEP + STATE_BYTES);
    v128.store(panel + stateAt, f32x4.splat(NONE));
    v128.store(panel + stateAt, f32x4.splat(NONE), 16);
  }
  for (let key = 0; key < TK; key += block) {
    const count = min(block, TK - key);
    let packed = false;
    for (let i = 0; i < queries; i += LANES) {
      seeKeys(b, query + i, min(LANES, queries - i), key, count);
      const seen = seenTo - seenFrom;
      if (seen <= 0) continue;
      if (!packed) {
        packColumns(keys, keyStep, k + <usize>key * kStride, kStride, count, D, 1);
        packRows(values, v + <usize>key * vStride, vStride, count, DV);
        packed = true;
      }
      const panel = panels + <usize>(i / LANES) * panelBytes;
      const sums = panel + sumsAt;
      product(scores, zeros, keys + ((<usize>seenFrom) << 2), keyStep, panel, D, seen);
      hide(scores);
      weigh(scores, seen, panel + stateAt, sums, width);
      addProduct(sums, values + <usize>seenFrom * valueStep, valueStep, scores, seen, width);
    }
  }
  for (let i = 0; i < queries; i += LANES) {
    const panel = panels + <usize>(i / LANES) * panelBytes;
    finish(
      out + <usize>i * outStride,
      outStride,
      lse + ((<usize>i) << 2),
      panel + sumsAt,
      panel + stateAt,
      min(LANES, queries - i),
      DV,
    );
  }
}

/** out and lse of the first `rows` lanes. A lane without weights saw no key. */
function finish(out: usize, stride: usize, lse: usize, sums: usize, state: usize, rows: i32, DV: i32): void {
  const total0 = v128.load(state, 32);
  const total1 = v128.load(state, 48);
  const one = f32x4.splat(1);
  const none0 = f32x4.eq(total0, f32x4.splat(0));
  const none1 = f32x4.eq(total1, f32x4.splat(0));
  unpackPanel(
    out,
    stride,
    sums,
    rows,
    DV,
    v128.andnot(f32x4.div(one, total0), none0),
    v128.andnot(f32x4.div(one, total1), none1),
    false,
  );
  for (let i = 0; i < rows; i++) {
    const at = state + ((<usize>i) << 2);
    const total = load<f32>(at, 32);
    store<f32>(lse + ((<usize>i) << 2), total === 0 ? NONE : <f32>(<f64>load<f32>(at) + log(total)));
  }
}
