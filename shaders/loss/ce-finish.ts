// From the joined statistics of all shards, all [R]: lse = rowMax + log(rowSum), and the row losses (1 - SMOOTHING)
// (lse - targetLogit) + SMOOTHING (lse - logitSum / VOCAB), 0 where the target is -100. A row without columns (rowSum
// 0) has lse -1e30, which stands for -inf. Cost: nothing beside ceStats.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './ce-finish.wgsl?raw';

export const ceFinish = defineKernel({
  name: 'ceFinish',
  bindings: {
    rowMax: 'read',
    rowSum: 'read',
    targetLogit: 'read',
    logitSum: 'read',
    targets: 'read i32',
    lse: 'read_write',
    rowLoss: 'read_write',
  },
  params: { R: 'rows', VOCAB: 'columns of all shards together', SMOOTHING: 'label smoothing, 0 to 1' },
  dynamic: { R: 'u32' },
  variants: [{ name: 'scalar', source, tune: { WG: [32] }, grid: ({ R }, { WG }) => linearGrid(R, WG) }],
  cost: ({ R }) => ({ flops: 8 * R, bytes: 28 * R }),
  reference({ rowMax, rowSum, targetLogit, logitSum, targets, lse, rowLoss }, { R, VOCAB, SMOOTHING }) {
    for (let r = 0; r < R; r++) {
      const whole = rowSum[r] <= 0 ? -1e30 : rowMax[r] + Math.log(rowSum[r]);
      lse[r] = whole;
      rowLoss[r] =
        targets[r] === -100 || rowSum[r] <= 0
          ? 0
          : (1 - SMOOTHING) * (whole - targetLogit[r]) +
            (SMOOTHING > 0 ? SMOOTHING * (whole - logitSum[r] / VOCAB) : 0);
    }
  },
  sizes: ({ R }) => ({ rowMax: R, rowSum: R, targetLogit: R, logitSum: R, targets: R, lse: R, rowLoss: R }),
  cases: [
    { R: 1, VOCAB: 1, SMOOTHING: 0 },
    { R: 65, VOCAB: 63, SMOOTHING: 0.1 },
    { R: 100, VOCAB: 1000, SMOOTHING: 0 },
  ],
  testInput(name, { R, VOCAB }, random) {
    if (name === 'targets')
      return Int32Array.from({ length: R }, (_, i) => (i % 5 === 4 ? -100 : Math.floor(random() * VOCAB)));
    if (name === 'rowSum') return Float32Array.from({ length: R }, () => 1 + VOCAB * random());
    return undefined;
  },
});
