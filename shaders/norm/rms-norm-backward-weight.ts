// Gradient of RMS normalisation by its weight: dWeight[c] (+)= sum_r dOut[r, c] x[r, c] rstd[r]; x and dOut are [R, C],
// rstd is rmsNorm's output. Adds where ACCUMULATE is 1. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import splitSource from './rms-norm-backward-weight-split.wgsl?raw';
import source from './rms-norm-backward-weight.wgsl?raw';

export const rmsNormBackwardWeight = defineKernel({
  name: 'rmsNormBackwardWeight',
  bindings: { x: 'read', rstd: 'read', dOut: 'read', dWeight: 'read_write' },
  params: { R: 'rows', C: 'columns', ACCUMULATE: '1 adds to dWeight, 0 assigns' },
  dynamic: { R: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [32] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ C }, { WG }) => linearGrid(C / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ C }, { WG }) => linearGrid(C, WG) },
    {
      name: 'split',
      source: splitSource,
      tune: { COLUMNS: [8], SLICES: [32] },
      supports: ({ R, C }) => C % 4 === 0 && R >= 128,
      grid: ({ C }, { COLUMNS }) => [Math.ceil(C / 4 / COLUMNS), 1, 1],
    },
  ],
  cost: ({ R, C }) => ({ flops: 3 * R * C, bytes: 4 * (2 * R * C + R + C) }),
  reference({ x, rstd, dOut, dWeight }, { R, C, ACCUMULATE }) {
    for (let c = 0; c < C; c++) {
      let sum = ACCUMULATE ? dWeight[c] : 0;
      for (let r = 0; r < R; r++) sum += dOut[r * C + c] * x[r * C + c] * rstd[r];
      dWeight[c] = sum;
    }
  },
  sizes: ({ R, C }) => ({ x: R * C, rstd: R, dOut: R * C, dWeight: C }),
  cases: [
    { R: 1, C: 1, ACCUMULATE: 0 },
    { R: 5, C: 3, ACCUMULATE: 1 },
    { R: 65, C: 63, ACCUMULATE: 0 },
    { R: 33, C: 64, ACCUMULATE: 1 },
    { R: 300, C: 260, ACCUMULATE: 0 },
  ],
});
