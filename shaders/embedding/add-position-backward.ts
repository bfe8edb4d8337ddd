// Gradient of addPosition by its table: dTable[POS_START + t, :] += the sum of dOut[r, :] over the rows r % T = t of
// dOut [R, C]. Always adds; the other rows of dTable are left alone. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './add-position-backward.wgsl?raw';

export const addPositionBackward = defineKernel({
  name: 'addPositionBackward',
  bindings: { dOut: 'read', dTable: 'read_write' },
  params: {
    R: 'rows',
    C: 'columns',
    T: 'positions per sequence',
    POS_START: 'first position of this part of the sequence',
  },
  dynamic: { R: 'u32', POS_START: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ T, R, C }, { WG }) => linearGrid((Math.min(T, R) * C) / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ T, R, C }, { WG }) => linearGrid(Math.min(T, R) * C, WG) },
  ],
  cost: ({ R, C, T }) => ({ flops: R * C, bytes: 4 * C * (R + 2 * Math.min(T, R)) }),
  reference({ dOut, dTable }, { R, C, T, POS_START }) {
    for (let t = 0; t < Math.min(T, R); t++) {
      for (let c = 0; c < C; c++) {
        let sum = dTable[(POS_START + t) * C + c];
        for (let r = t; r < R; r += T) sum += dOut[r * C + c];
        dTable[(POS_START + t) * C + c] = sum;
      }
    }
  },
  sizes: ({ R, C, T, POS_START }) => ({ dOut: R * C, dTable: (POS_START + Math.min(T, R)) * C }),
  cases: [
    { R: 1, C: 1, T: 1, POS_START: 0 },
    { R: 60, C: 17, T: 20, POS_START: 3 },
    { R: 66, C: 64, T: 33, POS_START: 5 },
    { R: 5, C: 8, T: 9, POS_START: 0 },
  ],
});
