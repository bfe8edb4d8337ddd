// out[r, :] = x[r, :] + table[POS_START + r % T, :] (+ residual[r, :]): x, residual and out [R, C] hold sequences of T
// positions one after another; table has at least POS_START + min(T, R) rows. A table of one row (T = 1) is a bias.
// Unused residual still needs a buffer. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './add-position.wgsl?raw';

export const addPosition = defineKernel({
  name: 'addPosition',
  bindings: { x: 'read', table: 'read', residual: 'read', out: 'read_write' },
  params: {
    R: 'rows',
    C: 'columns',
    T: 'positions per sequence',
    POS_START: 'first position of this part of the sequence',
    RESIDUAL: '1 adds residual',
  },
  dynamic: { R: 'u32', POS_START: 'u32' },
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
  cost: ({ R, C, T, RESIDUAL }) => ({
    flops: (1 + RESIDUAL) * R * C,
    bytes: 4 * C * ((2 + RESIDUAL) * R + Math.min(T, R)),
  }),
  reference({ x, table, residual, out }, { R, C, T, POS_START, RESIDUAL }) {
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < C; c++)
        out[r * C + c] = x[r * C + c] + table[(POS_START + (r % T)) * C + c] + (RESIDUAL ? residual[r * C + c] : 0);
    }
  },
  sizes: ({ R, C, T, POS_START, RESIDUAL }) => ({
    x: R * C,
    table: (POS_START + Math.min(T, R)) * C,
    residual: RESIDUAL ? R * C : 4,
    out: R * C,
  }),
  cases: [
    { R: 1, C: 1, T: 1, POS_START: 0, RESIDUAL: 0 },
    { R: 60, C: 17, T: 20, POS_START: 3, RESIDUAL: 1 },
    { R: 66, C: 64, T: 33, POS_START: 5, RESIDUAL: 0 },
    { R: 5, C: 8, T: 9, POS_START: 0, RESIDUAL: 1 },
  ],
});
