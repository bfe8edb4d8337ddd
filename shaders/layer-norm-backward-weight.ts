// Gradient of layer normalisation by its weight: dWeight[c] (+)= sum_r dOut[r, c] (x[r, c] - mean[r]) rstd[r]; x and dOut are [R, C], mean and rstd
// are layerNorm's outputs. Adds where ACCUMULATE is 1. The bias's gradient is columnSum: both gradients lie in one flat buffer, and WebGPU forbids
// two writable bindings of one buffer. Memory bound.

import { linearGrid } from '../src/device/grid.ts';
import { defineKernel } from '../src/device/kernel.ts';
import vec4Source from './layer-norm-backward-weight-vec4.wgsl?raw';
import splitSource from './layer-norm-backward-weight-split.wgsl?raw';
import source from './layer-norm-backward-weight.wgsl?raw';

export const layerNormBackwardWeight = defineKernel({
  name: 'layerNormBackwardWeight',
  bindings: { x: 'read', mean: 'read', rstd: 'read', dOut: 'read', dWeight: 'read_write' },
  params: { R: 'rows', C: 'columns', ACCUMULATE: '1 adds to dWeight, 0 assigns' },
  variants: [
    { name: 'vec4', source: vec4Source, tune: { WG: [32] }, supports: ({ C }) => C % 4 === 0, grid: ({ C }, { WG }) => linearGrid(C / 4, WG) },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ C }, { WG }) => linearGrid(C, WG) },
    { name: 'split', source: splitSource, tune: { COLUMNS: [8], SLICES: [32] }, supports: ({ R, C }) => C % 4 === 0 && R >= 128, grid: ({ C }, { COLUMNS }) => [Math.ceil(C / 4 / COLUMNS), 1, 1] },
  ],
  cost: ({ R, C }) => ({ flops: 4 * R * C, bytes: 4 * (2 * R * C + 2 * R + C) }),
  reference({ x, mean, rstd, dOut, dWeight }, { R, C, ACCUMULATE }) {
    for (let c = 0; c < C; c++) {
      let weightSum = ACCUMULATE ? dWeight[c] : 0;
      for (let r = 0; r < R; r++) weightSum += dOut[r * C + c] * (x[r * C + c] - mean[r]) * rstd[r];
      dWeight[c] = weightSum;
    }
  },
  sizes: ({ R, C }) => ({ x: R * C, mean: R, rstd: R, dOut: R * C, dWeight: C }),
  cases: [{ R: 1, C: 1, ACCUMULATE: 0 }, { R: 5, C: 3, ACCUMULATE: 1 }, { R: 65, C: 63, ACCUMULATE: 0 }, { R: 33, C: 64, ACCUMULATE: 1 }, { R: 300, C: 260, ACCUMULATE: 0 }],
});
