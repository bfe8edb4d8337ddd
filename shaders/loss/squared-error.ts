// out[R] = half the squared distance of the rows of x and y [R, C]: the loss of a regression, whose gradient is x - y.
// One thread per row: C is the width of an answer, which is small.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './squared-error.wgsl?raw';

export const squaredError = defineKernel({
  name: 'squaredError',
  bindings: { x: 'read', y: 'read', out: 'read_write' },
  params: { R: 'rows', C: 'columns' },
  dynamic: { R: 'u32', C: 'u32' },
  variants: [{ name: 'row', source, tune: { WG: [64] }, grid: ({ R }, { WG }) => linearGrid(R, WG) }],
  cost: ({ R, C }) => ({ flops: 3 * R * C, bytes: 8 * R * C + 4 * R }),
  reference({ x, y, out }, { R, C }) {
    for (let r = 0; r < R; r++) {
      let sum = 0;
      for (let c = 0; c < C; c++) sum += (x[r * C + c] - y[r * C + c]) ** 2;
      out[r] = sum / 2;
    }
  },
  sizes: ({ R, C }) => ({ x: R * C, y: R * C, out: R }),
  cases: [
    { R: 1, C: 1 },
    { R: 65, C: 3 },
    { R: 130, C: 17 },
  ],
});
