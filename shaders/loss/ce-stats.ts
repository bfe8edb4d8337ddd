// Row statistics of a softmax cross-entropy over logits [R, COLS], the vocabulary's columns COL_START...: rowMax,
// rowSum = sum exp(logit - rowMax), targetLogit = the target's logit (0 if it is in another shard), logitSum = sum of
// logits; all [R]. Columns at or beyond VOCAB are ignored. MERGE 0 assigns, MERGE 1 folds this shard into the values
// that are there. No columns at all give rowMax -1e30, rowSum 0. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import type { DeviceFeatures, Params } from '../../src/device/kernel.ts';
import vec4Source from './ce-stats-vec4.wgsl?raw';
import rowSource from './ce-stats-row.wgsl?raw';
import source from './ce-stats.wgsl?raw';

/** Targets in and outside the shard, every fifth ignored. */
function testTargets(R: number, VOCAB: number, random: () => number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: R }, (_, i) => (i % 5 === 4 ? -100 : Math.floor(random() * VOCAB)));
}

/** A thread per row is enough for short rows, and best where threads are few. */
function fewPerRow({ COLS }: Params, { software }: DeviceFeatures): boolean {
  return software || COLS < 256;
}

export const ceStats = defineKernel({
  name: 'ceStats',
  bindings: {
    logits: 'read',
    targets: 'read i32',
    rowMax: 'read_write',
    rowSum: 'read_write',
    targetLogit: 'read_write',
    logitSum: 'read_write',
  },
  params: {
    R: 'rows',
    COLS: 'columns of this shard',
    COL_START: 'its first column in the vocabulary',
    VOCAB: 'columns at or beyond it are padding',
    MERGE: '1 folds into the running values, 0 assigns',
  },
  dynamic: { R: 'u32', COL_START: 'u32' },
  variants: [
    {
      name: 'vec4',
      source: vec4Source,
      tune: { WG: [32] },
      supports: ({ COLS }) => COLS % 4 === 0,
      prefers: fewPerRow,
      grid: ({ R }, { WG }) => linearGrid(R, WG),
    },
    { name: 'scalar', source, tune: { WG: [32] }, prefers: fewPerRow, grid: ({ R }, { WG }) => linearGrid(R, WG) },
    { name: 'row', source: rowSource, madeFor: 'hardware', tune: { WG: [256] }, grid: ({ R }) => linearGrid(R, 1) },
  ],
  cost: ({ R, COLS }) => ({ flops: 5 * R * COLS, bytes: 4 * R * (COLS + 5) }),
  reference({ logits, targets, rowMax, rowSum, targetLogit, logitSum }, { R, COLS, COL_START, VOCAB, MERGE }) {
    const valid = Math.min(COLS, Math.max(0, VOCAB - COL_START));
    for (let r = 0; r < R; r++) {
      let peak = MERGE ? rowMax[r] : -1e30;
      for (let c = 0; c < valid; c++) peak = Math.max(peak, logits[r * COLS + c]);
      let sum = MERGE ? rowSum[r] * Math.exp(rowMax[r] - peak) : 0;
      let total = MERGE ? logitSum[r] : 0;
      for (let c = 0; c < valid; c++) {
        sum += Math.exp(logits[r * COLS + c] - peak);
        total += logits[r * COLS + c];
      }
      const place = targets[r] - COL_START;
      const wanted = place >= 0 && place < valid ? logits[r * COLS + place] : 0;
      rowMax[r] = peak;
      rowSum[r] = sum;
      targetLogit[r] = (MERGE ? targetLogit[r] : 0) + wanted;
      logitSum[r] = total;
    }
  },
  sizes: ({ R, COLS }) => ({ logits: R * COLS, targets: R, rowMax: R, rowSum: R, targetLogit: R, logitSum: R }),
  cases: [
    { R: 1, COLS: 1, COL_START: 0, VOCAB: 1, MERGE: 0 },
    { R: 5, COLS: 7, COL_START: 0, VOCAB: 7, MERGE: 0 },
    { R: 65, COLS: 63, COL_START: 63, VOCAB: 120, MERGE: 1 },
    { R: 33, COLS: 100, COL_START: 100, VOCAB: 175, MERGE: 1 },
    { R: 3, COLS: 1000, COL_START: 0, VOCAB: 1000, MERGE: 0 },
    { R: 3, COLS: 8, COL_START: 24, VOCAB: 20, MERGE: 1 },
    { R: 3, COLS: 8, COL_START: 24, VOCAB: 20, MERGE: 0 },
  ],
  testInput(name, { R, COLS, VOCAB }, random) {
    if (name === 'targets') return testTargets(R, VOCAB, random);
    if (name === 'logits') return Float32Array.from({ length: R * COLS }, () => 20 * random() - 10);
    if (name === 'rowSum') return Float32Array.from({ length: R }, () => 1 + 10 * random());
    return undefined;
  },
});
