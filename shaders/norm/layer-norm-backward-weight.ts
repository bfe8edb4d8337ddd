// Gradient of layer normalisation by its weight: dWeight[c] (+)= sum_r dOut[r, c] (x[r, c] - mean[r]) rstd[r]; x and
// dOut are [R, C], mean and rstd are layerNorm's outputs. With BIAS_AT > 0 also by its bias, dWeight[BIAS_AT + c] (+)=
// sum_r dOut[r, c]: both gradients lie in one flat buffer, and WebGPU forbids two writable bindings of one buffer. What
// lies between them stays. Adds where ACCUMULATE is 1. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import splitSource from './layer-norm-backward-weight-split.wgsl?raw';
import source from './layer-norm-backward-weight.wgsl?raw';

export const layerNormBackwardWeight = defineKernel({
  name: 'layerNormBackwardWeight',
  bindings: { x: 'read', mean: 'read', rstd: 'read', dOut: 'read', dWeight: 'read_write' },
  params: {
    R: 'rows',
    C: 'columns',
    ACCUMULATE: '1 adds to dWeight, 0 assigns',
    BIAS_AT: 'elements from dWeight to dBias in the same binding, 0 leaves the bias out',
  },
  dynamic: { R: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [32] },
      supports: ({ C, BIAS_AT }) => C % 4 === 0 && BIAS_AT % 4 === 0,
      grid: ({ C }, { WG }) => linearGrid(C / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ C }, { WG }) => linearGrid(C, WG) },
    {
      name: 'split',
      source: splitSource,
      tune: { COLUMNS: [8], SLICES: [32] },
      supports: ({ R, C, BIAS_AT }) => C % 4 === 0 && BIAS_AT % 4 === 0 && R >= 128,
      grid: ({ C }, { COLUMNS }) => [Math.ceil(C / 4 / COLUMNS), 1, 1],
    },
  ],
  cost: ({ R, C, BIAS_AT }) => ({
    flops: (BIAS_AT ? 5 : 4) * R * C,
    bytes: 4 * (2 * R * C + 2 * R + (BIAS_AT ? 2 : 1) * C),
  }),
  reference({ x, mean, rstd, dOut, dWeight }, { R, C, ACCUMULATE, BIAS_AT }) {
    for (let c = 0; c < C; c++) {
      let weightSum = ACCUMULATE ? dWeight[c] : 0;
      for (let r = 0; r < R; r++) weightSum += dOut[r * C + c] * (x[r * C + c] - mean[r]) * rstd[r];
      dWeight[c] = weightSum;
      if (BIAS_AT === 0) continue;
      let biasSum = ACCUMULATE ? dWeight[BIAS_AT + c] : 0;
      for (let r = 0; r < R; r++) biasSum += dOut[r * C + c];
      dWeight[BIAS_AT + c] = biasSum;
    }
  },
  sizes: ({ R, C, BIAS_AT }) => ({ x: R * C, mean: R, rstd: R, dOut: R * C, dWeight: BIAS_AT + C }),
  cases: [
    { R: 1, C: 1, ACCUMULATE: 0, BIAS_AT: 0 },
    { R: 5, C: 3, ACCUMULATE: 1, BIAS_AT: 3 },
    { R: 65, C: 63, ACCUMULATE: 0, BIAS_AT: 64 },
    { R: 33, C: 64, ACCUMULATE: 1, BIAS_AT: 64 },
    { R: 300, C: 260, ACCUMULATE: 0, BIAS_AT: 0 },
    { R: 300, C: 260, ACCUMULATE: 1, BIAS_AT: 320 },
  ],
});
