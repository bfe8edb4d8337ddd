// dGates[n, k] = dot(dOut[n, :], y[slotOf[n * K + k], :]): the gradient of moeCombine for its gates; 0 where the slot
// is 0xffffffff.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { NO_ROW, testRows } from './moe-permute.ts';
import source from './moe-gate-backward.wgsl?raw';

export const moeGateBackward = defineKernel({
  name: 'moeGateBackward',
  bindings: { dOut: 'read', y: 'read', slotOf: 'read u32', dGates: 'read_write' },
  params: { N: 'tokens', C: 'columns', K: 'experts per token' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ N, K }, { WG }) => linearGrid(N * K, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ N, K }, { WG }) => linearGrid(N * K, WG) },
  ],
  cost: ({ N, C, K }) => ({ flops: 2 * N * K * C, bytes: 4 * N * (C * (K + 1) + 2 * K) }),
  reference({ dOut, y, slotOf, dGates }, { N, C, K }) {
    for (let a = 0; a < N * K; a++) {
      let sum = 0;
      if (slotOf[a] !== NO_ROW)
        for (let c = 0; c < C; c++) sum += dOut[Math.floor(a / K) * C + c] * y[slotOf[a] * C + c];
      dGates[a] = sum;
    }
  },
  sizes: ({ N, C, K }) => ({ dOut: N * C, y: N * K * C, slotOf: N * K, dGates: N * K }),
  testInput: (name, { N, K }, random) => (name === 'slotOf' ? testRows(N * K, N * K, random) : undefined),
  cases: [
    { N: 1, C: 1, K: 1 },
    { N: 65, C: 17, K: 2 },
    { N: 20, C: 64, K: 3 },
    { N: 40, C: 12, K: 2 },
  ],
});
