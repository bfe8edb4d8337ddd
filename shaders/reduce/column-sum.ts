// out[C] (+)= sum over rows of x [R, C]: the gradient of a bias. One thread per column (or four), so rows are read in
// step by neighbours.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './column-sum.wgsl?raw';

export const columnSum = defineKernel({
  name: 'columnSum',
  bindings: { x: 'read', out: 'read_write' },
  params: { R: 'rows', C: 'columns', ACCUMULATE: '1 adds to out' },
  dynamic: { R: 'u32', C: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [16] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ C }, { WG }) => linearGrid(C / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ C }, { WG }) => linearGrid(C, WG) },
  ],
  cost: ({ R, C, ACCUMULATE }) => ({ flops: R * C, bytes: 4 * C * (R + 1 + ACCUMULATE) }),
  reference({ x, out }, { R, C, ACCUMULATE }) {
    for (let c = 0; c < C; c++) {
      let sum = ACCUMULATE ? out[c] : 0;
      for (let r = 0; r < R; r++) sum += x[r * C + c];
      out[c] = sum;
    }
  },
  sizes: ({ R, C }) => ({ x: R * C, out: C }),
  cases: [
    { R: 1, C: 1, ACCUMULATE: 0 },
    { R: 65, C: 63, ACCUMULATE: 1 },
    { R: 7, C: 4, ACCUMULATE: 0 },
    { R: 130, C: 132, ACCUMULATE: 1 },
    { R: 2048, C: 8, ACCUMULATE: 0 },
  ],
});
