// Gradient of the queries: panels of 8 queries against blocks of keys, as forward.as.ts. The weights come back from the
// scores and lse. Source: Dao 2023, arXiv 2307.08691, algorithm 2.

import { firstOf, scratch } from '../wasm/threads.as.ts';
import { addProduct, LANES, packColumns, packRows, padded, product, STEP, unpackPanel } from './panels.as.ts';
import { hide, seeKeys, seenFrom, seenTo } from './sight.as.ts';
import { blockRows, panelsWithin, SCRATCH_START, ZERO_BYTES } from './space.as.ts';
import { queryGradients, SEES_NONE } from './weights.as.ts';

/** lse and delta of every lane. */
const STATE_BYTES: usize = 64;

export function queryGradient(
  q: usize,
  k: usize,
  v: usize,
  dOut: usize,
  lse: usize,
  delta: usize,
  dQ: usize,
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
  ACCUMULATE: i32,
  part: i32,
  parts: i32,
): void {
  const panels = (TQ + LANES - 1) / LANES;
  const end = firstOf(B * HQ * panels, part + 1, parts);
  const block = blockRows(D, DV);
  const width = padded(D);
  const most = panelsWithin(block * (D + DV + width), 2 * block, D + DV + width, STATE_BYTES);
  let at = firstOf(B * HQ * panels, part, parts);
  while (at < end) {
    const head = at / panels;
    const b = head / HQ;
    const h = head % HQ;
    const hkv = (h * HKV) / HQ;
    const panel = at % panels;
    const count = min(min(most, panels - panel), end - at);
    const query = panel * LANES;
    const place = (<usize>(Q_OFF + b * Q_B + h * Q_H + query * Q_T)) << 2;
    const row = (<usize>(head * TQ + query)) << 2;
    run(
      q + place,
      k + ((<usize>(K_OFF + b * K_B + hkv * K_H)) << 2),
      v + ((<usize>(V_OFF + b * V_B + hkv * V_H)) << 2),
      dOut + ((<usize>(O_OFF + b * O_B + h * O_H + query * O_T)) << 2),
      lse + row,
      delta + row,
      dQ + place,
      b,
      query,
      min(TQ - query, count * LANES),
      TK,
      D,
      DV,
      block,
      SCALE,
      (<usize>Q_T) << 2,
      (<usize>K_T) << 2,
      (<usize>V_T) << 2,
      (<usize>O_T) << 2,
      ACCUMULATE !== 0,
    );
    at += count;
  }
}

/** `queries` queries of one head, from `query` on: q, dOut, lse, delta and dQ are theirs. Strides in bytes. */
function run(
  q: usize,
  k: usize,
  v: usize,
  dOut: usize,
  lse: usize,
  delta: usize,
  dQ: usize,
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
  accumulate: boolean,
): void {
  const width = padded(D);
  const zeros = scratch();
  const scores = zeros + SCRATCH_START;
  const dP = scores + <usize>block * STEP;
  const keys = dP + <usize>block * STEP;
  const values = keys + ((<usize>block * D) << 2);
  const keyRows = values + ((<usize>block * DV) << 2);
  const panels = keyRows + ((<usize>block * width) << 2);
  const panelBytes = <usize>(D + DV + width) * STEP + STATE_BYTES;
  const outAt = <usize>D * STEP;
  const sumsAt = outAt + <usize>DV * STEP;
  const stateAt = sumsAt + <usize>width * STEP;
  const step = (<usize>block) << 2;
  const rowStep = (<usize>width) << 2;
  memory.fill(zeros, 0, ZERO_BYTES);
  for (let i = 0; i < queries; i += LANES) {
    const panel = panels + <usize>(i / LANES) * panelBytes;
    const count = min(LANES, queries - i);
    packColumns(panel, STEP, q + <usize>i * qStride, qStride, count, D, SCALE);
    packColumns(panel + outAt, STEP, dOut + <usize>i * outStride, outStride, count, DV, 1);
    memory.fill(panel + sumsAt, 0, <usize>width * STEP + STATE_BYTES);
    packState(panel + stateAt, lse + ((<usize>i) << 2), delta + ((<usize>i) << 2), count);
  }
  for (let key = 0; key < TK; key += block) {
    const count = min(block, TK - key);
    let packed = false;
    for (let i = 0; i < queries; i += LANES) {
      seeKeys(b, query + i, min(LANES, queries - i), key, count);
      const seen = seenTo - seenFrom;
      if (seen <= 0) continue;
      if (!packed) {
        packColumns(keys, step, k + <usize>key * kStride, kStride, count, D, 1);
        packColumns(values, step, v + <usize>key * vStride, vStride, count, DV, 1);
        packRows(keyRows, k + <usize>key * kStride, kStride, count, D);
        packed = true;
      }
      const panel = panels + <usize>(i / LANES) * panelBytes;
      const sums = panel + sumsAt;
      const from = (<usize>seenFrom) << 2;
      product(scores, zeros, keys + from, step, panel, D, seen);
      product(dP, zeros, values + from, step, panel + outAt, DV, seen);
      hide(scores);
      queryGradients(scores, dP, seen, panel + stateAt);
      addProduct(sums, keyRows + <usize>seenFrom * rowStep, rowStep, scores, seen, width);
    }
  }
  const scale = f32x4.splat(SCALE);
  for (let i = 0; i < queries; i += LANES) {
    const sums = panels + <usize>(i / LANES) * panelBytes + sumsAt;
    unpackPanel(dQ + <usize>i * qStride, qStride, sums, min(LANES, queries - i), D, scale, scale, accumulate);
  }
}

/** lse, infinite where nothing is seen, so that the weights are 0; then delta. */
function packState(to: usize, lse: usize, delta: usize, count: i32): void {
  for (let lane: usize = 0; lane < (<usize>count) << 2; lane += 4) {
    const value = load<f32>(lse + lane);
    store<f32>(to + lane, value <= SEES_NONE ? Infinity : value);
    store<f32>(to + lane, load<f32>(delta + lane), 32);
  }
}
