// out[C] = sum over the rows of x [R, C] (+ out): the gradient of a bias. One thread per column.

import { defineKernel } from '../src/device/kernel.ts';
import source from './column-sum.wgsl?raw';

export const columnSum = defineKernel({
  name: 'columnSum',
  bindings: { x: 'read', out: 'read_write' },
  params: { R: 'rows', C: 'columns', ACCUMULATE: '1 adds to out' },
  variants: [{ name: 'scalar', source, grid: ({ C }) => [Math.ceil(C / 32), 1, 1] }],
  cost: ({ R, C }) => ({ flops: R * C, bytes: 4 * (R * C + C) }),
  sizes: ({ R, C }) => ({ x: R * C, out: C }),
  reference({ x, out }, { R, C, ACCUMULATE }) {
    for (let c = 0; c < C; c++) {
      let sum = ACCUMULATE ? out[c] : 0;
      for (let r = 0; r < R; r++) sum += x[r * C + c];
      out[c] = sum;
    }
  },
  cases: [{ R: 1, C: 1, ACCUMULATE: 0 }, { R: 65, C: 63, ACCUMULATE: 1 }, { R: 17, C: 130, ACCUMULATE: 0 }],
});
