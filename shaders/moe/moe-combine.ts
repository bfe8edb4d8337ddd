// out[n, :] = (residual[n, :] +) sum over k of g * y[slotOf[n * K + k], :], with g = gates[n * K + k] if GATED and 1
// otherwise. out and residual are [N, C]; y has C columns. A slot 0xffffffff (no expert, or dropped) adds nothing.
// Unused residual still needs a buffer. Ungated it is the backward of gatherRows.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { NO_ROW, testRows } from './moe-permute.ts';
import source from './moe-combine.wgsl?raw';

export const moeCombine = defineKernel({
  name: 'moeCombine',
  bindings: { y: 'read', slotOf: 'read u32', gates: 'read', residual: 'read', out: 'read_write' },
  params: {
    N: 'tokens',
    C: 'columns',
    K: 'experts per token',
    GATED: '1 multiplies by gates',
    RESIDUAL: '1 adds residual',
  },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ N, C }, { WG }) => linearGrid((N * C) / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ N, C }, { WG }) => linearGrid(N * C, WG) },
  ],
  cost: ({ N, C, K, RESIDUAL }) => ({ flops: 2 * N * C * K, bytes: 4 * N * (C * (K + 1 + RESIDUAL) + 2 * K) }),
  reference({ y, slotOf, gates, residual, out }, { N, C, K, GATED, RESIDUAL }) {
    for (let n = 0; n < N; n++) {
      for (let c = 0; c < C; c++) {
        let sum = RESIDUAL ? residual[n * C + c] : 0;
        for (let k = 0; k < K; k++) {
          const slot = slotOf[n * K + k];
          if (slot !== NO_ROW) sum += (GATED ? gates[n * K + k] : 1) * y[slot * C + c];
        }
        out[n * C + c] = sum;
      }
    }
  },
  sizes: ({ N, C, K, RESIDUAL }) => ({
    y: N * K * C,
    slotOf: N * K,
    gates: N * K,
    residual: RESIDUAL ? N * C : 4,
    out: N * C,
  }),
  testInput: (name, { N, K }, random) => (name === 'slotOf' ? testRows(N * K, N * K, random) : undefined),
  cases: [
    { N: 1, C: 1, K: 1, GATED: 1, RESIDUAL: 0 },
    { N: 33, C: 17, K: 2, GATED: 1, RESIDUAL: 1 },
    { N: 65, C: 20, K: 3, GATED: 0, RESIDUAL: 0 },
    { N: 9, C: 64, K: 2, GATED: 1, RESIDUAL: 1 },
  ],
});
