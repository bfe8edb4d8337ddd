// Copies a run of columns between two row-major matrices: out[r, OUT_COL + c] = x[r, X_COL + c], c < COLS. Other
// columns of out stay.

import { defineKernel } from '../../src/device/kernel.ts';
import source from './copy-columns.wgsl?raw';

export const copyColumns = defineKernel({
  name: 'copyColumns',
  bindings: { x: 'read', out: 'read_write' },
  params: {
    R: 'rows',
    COLS: 'columns to copy',
    X_WIDTH: 'elements per row of x',
    X_COL: 'first column in x',
    OUT_WIDTH: 'elements per row of out',
    OUT_COL: 'first column in out',
  },
  variants: [
    {
      name: 'scalar',
      source,
      grid({ R, COLS }) {
        const groups = Math.ceil((R * COLS) / 64);
        const x = Math.min(groups, 32768);
        return [x, Math.ceil(groups / x), 1];
      },
    },
  ],
  cost: ({ R, COLS }) => ({ flops: 0, bytes: 8 * R * COLS }),
  sizes: ({ R, X_WIDTH, OUT_WIDTH }) => ({ x: R * X_WIDTH, out: R * OUT_WIDTH }),
  reference({ x, out }, { R, COLS, X_WIDTH, X_COL, OUT_WIDTH, OUT_COL }) {
    for (let r = 0; r < R; r++)
      for (let c = 0; c < COLS; c++) out[r * OUT_WIDTH + OUT_COL + c] = x[r * X_WIDTH + X_COL + c];
  },
  cases: [
    { R: 1, COLS: 1, X_WIDTH: 1, X_COL: 0, OUT_WIDTH: 1, OUT_COL: 0 },
    { R: 7, COLS: 5, X_WIDTH: 13, X_COL: 8, OUT_WIDTH: 6, OUT_COL: 1 },
    { R: 65, COLS: 33, X_WIDTH: 99, X_COL: 33, OUT_WIDTH: 33, OUT_COL: 0 },
  ],
});
