// dX[R, C] = dOut[R] (x - y): the gradient of squared-error.ts for x.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './squared-error-backward.wgsl?raw';

export const squaredErrorBackward = defineKernel({
  name: 'squaredErrorBackward',
  bindings: { x: 'read', y: 'read', dOut: 'read', dX: 'read_write' },
  params: { R: 'rows', C: 'columns' },
  dynamic: { R: 'u32', C: 'u32' },
  variants: [{ name: 'element', source, tune: { WG: [64] }, grid: ({ R, C }, { WG }) => linearGrid(R * C, WG) }],
  cost: ({ R, C }) => ({ flops: 2 * R * C, bytes: 12 * R * C + 4 * R }),
  reference({ x, y, dOut, dX }, { R, C }) {
    for (let r = 0; r < R; r++) for (let c = r * C; c < (r + 1) * C; c++) dX[c] = dOut[r] * (x[c] - y[c]);
  },
  sizes: ({ R, C }) => ({ x: R * C, y: R * C, dOut: R, dX: R * C }),
  cases: [
    { R: 1, C: 1 },
    { R: 65, C: 3 },
    { R: 130, C: 17 },
  ],
});
