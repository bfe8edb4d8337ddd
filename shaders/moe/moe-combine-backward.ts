// dY[r, :] = gates[source[r]] * dOut[floor(source[r] / K), :]: the gradient of moeCombine for the experts' outputs, in
// expert order. Zeros where source[r] is 0xffffffff. dOut is [tokens, C], gates [tokens, K].

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { NO_ROW, testRows } from './moe-permute.ts';
import source from './moe-combine-backward.wgsl?raw';

export const moeCombineBackward = defineKernel({
  name: 'moeCombineBackward',
  bindings: { dOut: 'read', source: 'read u32', gates: 'read', dY: 'read_write' },
  params: { R: 'rows of dY', C: 'columns', K: 'experts per token' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ R, C }, { WG }) => linearGrid((R * C) / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ R, C }, { WG }) => linearGrid(R * C, WG) },
  ],
  cost: ({ R, C }) => ({ flops: R * C, bytes: 8 * R * C + 8 * R }),
  reference({ dOut, source, gates, dY }, { R, C, K }) {
    for (let r = 0; r < R; r++) {
      const a = source[r];
      for (let c = 0; c < C; c++) dY[r * C + c] = a === NO_ROW ? 0 : gates[a] * dOut[Math.floor(a / K) * C + c];
    }
  },
  sizes: ({ R, C, K }) => ({ dOut: Math.ceil(R / K) * C, source: R, gates: R, dY: R * C }),
  testInput: (name, { R }, random) => (name === 'source' ? testRows(R, R, random) : undefined),
  cases: [
    { R: 1, C: 1, K: 1 },
    { R: 66, C: 17, K: 2 },
    { R: 40, C: 12, K: 2 },
    { R: 33, C: 64, K: 3 },
  ],
});
