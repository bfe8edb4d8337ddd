// Gradients of keys and values: panels of 8 keys against blocks of the queries of all heads that read them; otherwise
// as query-gradient.as.ts. Source: Dao 2023, arXiv 2307.08691, algorithm 2.

import { firstOf, scratch } from '../wasm/threads.as.ts';
import { addProduct, LANES, packColumns, packRows, padded, product, STEP, unpackPanel } from './panels.as.ts';
import { hide, seeQueries, seenFrom, seenTo } from './sight.as.ts';
import { blockRows, panelsWithin, SCRATCH_START, ZERO_BYTES } from './space.as.ts';
import { keyGradients, SEES_NONE } from './weights.as.ts';

/** What `run` takes beside its arguments: the same for the whole launch. Strides in bytes. */
let qStride: usize = 0;
let kStride: usize = 0;
let vStride: usize = 0;
let outStride: usize = 0;
let dkStride: usize = 0;
let dvStride: usize = 0;
let queryCount: i32 = 0;
let keyEntries: i32 = 0;
let valueEntries: i32 = 0;
let block: i32 = 0;

/** Where the panels begin, and how they are divided. */
let panels: usize = 0;
let panelBytes: usize = 0;

export function keyValueGradient(
  q: usize,
  k: usize,
  v: usize,
  dOut: usize,
  lse: usize,
  delta: usize,
  dKV: usize,
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
  DK_OFF: i32,
  DK_B: i32,
  DK_H: i32,
  DK_T: i32,
  DV_OFF: i32,
  DV_B: i32,
  DV_H: i32,
  DV_T: i32,
  part: i32,
  parts: i32,
): void {
  qStride = (<usize>Q_T) << 2;
  kStride = (<usize>K_T) << 2;
  vStride = (<usize>V_T) << 2;
  outStride = (<usize>O_T) << 2;
  dkStride = (<usize>DK_T) << 2;
  dvStride = (<usize>DV_T) << 2;
  queryCount = TQ;
  keyEntries = D;
  valueEntries = DV;
  const most = divide();
  const perHead = (TK + LANES - 1) / LANES;
  const end = firstOf(B * HKV * perHead, part + 1, parts);
  let at = firstOf(B * HKV * perHead, part, parts);
  while (at < end) {
    const b = at / perHead / HKV;
    const hkv = (at / perHead) % HKV;
    const panel = at % perHead;
    const count = min(min(most, perHead - panel), end - at);
    const key = panel * LANES;
    const keys = min(TK - key, count * LANES);
    packPanels(
      k + ((<usize>(K_OFF + b * K_B + hkv * K_H + key * K_T)) << 2),
      v + ((<usize>(V_OFF + b * V_B + hkv * V_H + key * V_T)) << 2),
      keys,
      SCALE,
    );
    // Query heads h with floor(h HKV / HQ) = hkv.
    const lastHead = ((hkv + 1) * HQ + HKV - 1) / HKV;
    for (let h = (hkv * HQ + HKV - 1) / HKV; h < lastHead; h++) {
      const row = (<usize>((b * HQ + h) * TQ)) << 2;
      addHead(
        q + ((<usize>(Q_OFF + b * Q_B + h * Q_H)) << 2),
        dOut + ((<usize>(O_OFF + b * O_B + h * O_H)) << 2),
        lse + row,
        delta + row,
        b,
        key,
        keys,
      );
    }
    unpackPanels(
      dKV + ((<usize>(DK_OFF + b * DK_B + hkv * DK_H + key * DK_T)) << 2),
      dKV + ((<usize>(DV_OFF + b * DV_B + hkv * DV_H + key * DV_T)) << 2),
      keys,
      SCALE,
      ACCUMULATE !== 0,
    );
    at += count;
  }
}

/**
 * Divides the scratch memory: zeros, scores and dP [block, 8], lse and delta of the block, its queries and gradients as
 * columns and as rows, and the panels: keys, values, and the sums of both gradients. Gives the number of panels.
 */
function divide(): i32 {
  block = blockRows(keyEntries, valueEntries);
  const entries = keyEntries + valueEntries;
  const width = padded(keyEntries) + padded(valueEntries);
  const floats = block * (entries + width + 2);
  panelBytes = <usize>(entries + width) * STEP;
  panels = scratch() + SCRATCH_START + <usize>(2 * block) * STEP + ((<usize>floats) << 2);
  memory.fill(scratch(), 0, ZERO_BYTES);
  return panelsWithin(floats, 2 * block, entries + width, 0);
}

/** Keys, times SCALE, values, and sums of 0. */
function packPanels(k: usize, v: usize, keys: i32, SCALE: f32): void {
  for (let i = 0; i < keys; i += LANES) {
    const panel = panels + <usize>(i / LANES) * panelBytes;
    const count = min(LANES, keys - i);
    const sumsAt = <usize>(keyEntries + valueEntries) * STEP;
    packColumns(panel, STEP, k + <usize>i * kStride, kStride, count, keyEntries, SCALE);
    packColumns(panel + <usize>keyEntries * STEP, STEP, v + <usize>i * vStride, vStride, count, valueEntries, 1);
    memory.fill(panel + sumsAt, 0, panelBytes - sumsAt);
  }
}

/** Adds what the queries of one head give to the `keys` keys from `key` on. */
function addHead(q: usize, dOut: usize, lse: usize, delta: usize, b: i32, key: i32, keys: i32): void {
  const keyWidth = padded(keyEntries);
  const valueWidth = padded(valueEntries);
  const zeros = scratch();
  const scores = zeros + SCRATCH_START;
  const dP = scores + <usize>block * STEP;
  const state = dP + <usize>block * STEP;
  const queries = state + ((<usize>block) << 3);
  const gradients = queries + ((<usize>block * keyEntries) << 2);
  const queryRows = gradients + ((<usize>block * valueEntries) << 2);
  const gradientRows = queryRows + ((<usize>block * keyWidth) << 2);
  const step = (<usize>block) << 2;
  const queryStep = (<usize>keyWidth) << 2;
  const gradientStep = (<usize>valueWidth) << 2;
  const valuesAt = <usize>keyEntries * STEP;
  const dkAt = valuesAt + <usize>valueEntries * STEP;
  const dvAt = dkAt + <usize>keyWidth * STEP;
  for (let query = 0; query < queryCount; query += block) {
    const count = min(block, queryCount - query);
    let packed = false;
    for (let i = 0; i < keys; i += LANES) {
      seeQueries(b, key + i, min(LANES, keys - i), query, count);
      const seen = seenTo - seenFrom;
      if (seen <= 0) continue;
      if (!packed) {
        const from = q + <usize>query * qStride;
        const fromOut = dOut + <usize>query * outStride;
        packColumns(queries, step, from, qStride, count, keyEntries, 1);
        packColumns(gradients, step, fromOut, outStride, count, valueEntries, 1);
        packRows(queryRows, from, qStride, count, keyEntries);
        packRows(gradientRows, fromOut, outStride, count, valueEntries);
        packState(state, lse + ((<usize>query) << 2), delta + ((<usize>query) << 2), count);
        packed = true;
      }
      const panel = panels + <usize>(i / LANES) * panelBytes;
      const first = (<usize>seenFrom) << 2;
      product(scores, zeros, queries + first, step, panel, keyEntries, seen);
      product(dP, zeros, gradients + first, step, panel + valuesAt, valueEntries, seen);
      hide(scores);
      keyGradients(scores, dP, seen, state + 2 * first);
      const dK = panel + dkAt;
      const dV = panel + dvAt;
      addProduct(dK, queryRows + <usize>seenFrom * queryStep, queryStep, dP, seen, keyWidth);
      addProduct(dV, gradientRows + <usize>seenFrom * gradientStep, gradientStep, scores, seen, valueWidth);
    }
  }
}

/** lse, infinite where nothing is seen, so that the weights are 0, and delta of every query. */
function packState(to: usize, lse: usize, delta: usize, count: i32): void {
  for (let i: usize = 0; i < (<usize>count) << 2; i += 4) {
    const value = load<f32>(lse + i);
    store<f32>(to + 2 * i, value <= SEES_NONE ? Infinity : value);
    store<f32>(to + 2 * i, load<f32>(delta + i), 4);
  }
}

function unpackPanels(dK: usize, dV: usize, keys: i32, SCALE: f32, accumulate: boolean): void {
  const scale = f32x4.splat(SCALE);
  const one = f32x4.splat(1);
  for (let i = 0; i < keys; i += LANES) {
    const sums = panels + <usize>(i / LANES) * panelBytes + <usize>(keyEntries + valueEntries) * STEP;
    const count = min(LANES, keys - i);
    unpackPanel(dK + <usize>i * dkStride, dkStride, sums, count, keyEntries, scale, scale, accumulate);
    unpackPanel(
      dV + <usize>i * dvStride,
      dvStride,
      sums + <usize>padded(keyEntries) * STEP,
      count,
      valueEntries,
      one,
      one,
      accumulate,
    );
  }
}
