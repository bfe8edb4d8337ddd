// out [OUTER, COLS, ROWS, INNER] = x [OUTER, ROWS, COLS, INNER]: swaps the two middle dimensions. Memory bound: 8 bytes
// per element.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import tileSource from './transpose-tile4.wgsl?raw';
import source from './transpose.wgsl?raw';

export const transpose = defineKernel({
  name: 'transpose',
  bindings: { x: 'read', out: 'read_write' },
  params: {
    OUTER: 'product of the dimensions before',
    ROWS: 'first swapped dimension of x',
    COLS: 'second swapped dimension of x',
    INNER: 'product of the dimensions after',
  },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ INNER }) => INNER % 4 === 0,
      grid: ({ OUTER, ROWS, COLS, INNER }, { WG }) => linearGrid((OUTER * ROWS * COLS * INNER) / 4, WG),
    },
    {
      name: 'tile4',
      source: tileSource,
      tune: { WG: [64] },
      supports: ({ INNER, ROWS, COLS }) => INNER === 1 && ROWS % 4 === 0 && COLS % 4 === 0,
      grid: ({ OUTER, ROWS, COLS }, { WG }) => linearGrid((OUTER * ROWS * COLS) / 16, WG),
    },
    {
      name: 'scalar',
      source,
      tune: { WG: [64] },
      grid: ({ OUTER, ROWS, COLS, INNER }, { WG }) => linearGrid(OUTER * ROWS * COLS * INNER, WG),
    },
  ],
  cost: ({ OUTER, ROWS, COLS, INNER }) => ({ flops: 0, bytes: 8 * OUTER * ROWS * COLS * INNER }),
  reference({ x, out }, { OUTER, ROWS, COLS, INNER }) {
    for (let o = 0; o < OUTER; o++) {
      for (let r = 0; r < ROWS; r++) {
        for (let c = 0; c < COLS; c++) {
          for (let i = 0; i < INNER; i++)
            out[((o * COLS + c) * ROWS + r) * INNER + i] = x[((o * ROWS + r) * COLS + c) * INNER + i];
        }
      }
    }
  },
  sizes: ({ OUTER, ROWS, COLS, INNER }) => ({ x: OUTER * ROWS * COLS * INNER, out: OUTER * ROWS * COLS * INNER }),
  cases: [
    { OUTER: 1, ROWS: 1, COLS: 1, INNER: 1 },
    { OUTER: 2, ROWS: 65, COLS: 17, INNER: 1 },
    { OUTER: 3, ROWS: 20, COLS: 36, INNER: 1 },
    { OUTER: 2, ROWS: 5, COLS: 3, INNER: 7 },
    { OUTER: 2, ROWS: 7, COLS: 6, INNER: 16 },
  ],
});
