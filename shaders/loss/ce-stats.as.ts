// Rows one after another, each read twice while it lies in the cache: for its largest logit and their sum, then for the
// exponentials.

import { exp4 } from '../wasm/simd.as.ts';
import { expSumOf, hasNaN, longSumOf, peakOf } from '../wasm/statistics.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

/** Stands for minus infinity: the largest of no columns. */
const LOWEST: f32 = -1e30;

export function ceStats(
  logits: usize,
  targets: usize,
  rowMax: usize,
  rowSum: usize,
  targetLogit: usize,
  logitSum: usize,
  R: i32,
  COLS: i32,
  COL_START: i32,
  VOCAB: i32,
  MERGE: i32,
  part: i32,
  parts: i32,
): void {
  const valid = min(COLS, max(0, VOCAB - COL_START));
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const at = (<usize>r) << 2;
    const row = logits + ((<usize>r * COLS) << 2);
    const before: f32 = MERGE ? load<f32>(rowMax + at) : LOWEST;
    let peak = peakOf(row, valid, before);
    let sum = expSumOf(row, valid, peak);
    if (MERGE) sum += load<f32>(rowSum + at) * f32x4.extract_lane(exp4(f32x4.splat(before - peak)), 0);
    // Only NaN and infinity make a sum that is no number.
    if (sum !== sum && hasNaN(row, valid)) peak = NaN;
    const place = load<i32>(targets + at) - COL_START;
    const wanted: f32 = place >= 0 && place < valid ? load<f32>(row + ((<usize>place) << 2)) : 0;
    store<f32>(rowMax + at, peak);
    store<f32>(rowSum + at, <f32>sum);
    store<f32>(targetLogit + at, MERGE ? load<f32>(targetLogit + at) + wanted : wanted);
    const all = longSumOf(row, valid);
    store<f32>(logitSum + at, <f32>(MERGE ? load<f32>(logitSum + at) + all : all));
  }
}
