// out[r, :] = x[r, :] + table[POS_START + r % T, :]: x and out [R, C] hold sequences of T positions one after another; table has at least
// POS_START + min(T, R) rows. Memory bound.

import { linearGrid } from '../src/device/grid.ts';
import { defineKernel } from '../src/device/kernel.ts';
import vec4Source from './add-position-vec4.wgsl?raw';
import source from './add-position.wgsl?raw';

export const addPosition = defineKernel({
  name: 'addPosition',
  bindings: { x: 'read', table: 'read', out: 'read_write' },
  params: { R: 'rows', C: 'columns', T: 'positions per sequence', POS_START: 'first position of this part of the sequence' },
  variants: [
    { name: 'vec4', source: vec4Source, tune: { WG: [64] }, supports: ({ C }) => C % 4 === 0, grid: ({ R, C }, { WG }) => linearGrid(R * C / 4, WG) },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ R, C }, { WG }) => linearGrid(R * C, WG) },
  ],
  cost: ({ R, C, T }) => ({ flops: R * C, bytes: 4 * C * (2 * R + Math.min(T, R)) }),
  reference({ x, table, out }, { R, C, T, POS_START }) {
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < C; c++) out[r * C + c] = x[r * C + c] + table[(POS_START + r % T) * C + c];
    }
  },
  sizes: ({ R, C, T, POS_START }) => ({ x: R * C, table: (POS_START + Math.min(T, R)) * C, out: R * C }),
  cases: [
    { R: 1, C: 1, T: 1, POS_START: 0 },
    { R: 60, C: 17, T: 20, POS_START: 3 },
    { R: 66, C: 64, T: 33, POS_START: 5 },
    { R: 5, C: 8, T: 9, POS_START: 0 },
  ],
});
