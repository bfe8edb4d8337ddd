// Gradient of layer normalisation by its input: dX = (residual +) rstd (g - average(g) - xhat average(g xhat)), g =
// dOut weight, xhat = (x - mean) rstd, averages over each row of [R, C]; mean and rstd are layerNorm's outputs.
// `residual` [R, C] is the gradient that reaches x past the norm; unused it still needs a buffer. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './layer-norm-backward.wgsl?raw';

export const layerNormBackward = defineKernel({
  name: 'layerNormBackward',
  bindings: { x: 'read', weight: 'read', mean: 'read', rstd: 'read', dOut: 'read', residual: 'read', dX: 'read_write' },
  params: { R: 'rows', C: 'columns', RESIDUAL: '1 adds residual' },
  dynamic: { R: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [32] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ R }, { WG }) => linearGrid(R, WG),
    },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ R }, { WG }) => linearGrid(R, WG) },
  ],
  cost: ({ R, C, RESIDUAL }) => ({ flops: (14 + RESIDUAL) * R * C, bytes: 4 * ((3 + RESIDUAL) * R * C + C + 2 * R) }),
  reference({ x, weight, mean, rstd, dOut, residual, dX }, { R, C, RESIDUAL }) {
    for (let r = 0; r < R; r++) {
      const xhat = (c: number): number => (x[r * C + c] - mean[r]) * rstd[r];
      let gMean = 0;
      let gxMean = 0;
      for (let c = 0; c < C; c++) {
        const g = dOut[r * C + c] * weight[c];
        gMean += g / C;
        gxMean += (g * xhat(c)) / C;
      }
      for (let c = 0; c < C; c++)
        dX[r * C + c] =
          (RESIDUAL ? residual[r * C + c] : 0) + rstd[r] * (dOut[r * C + c] * weight[c] - gMean - xhat(c) * gxMean);
    }
  },
  sizes: ({ R, C, RESIDUAL }) => ({
    x: R * C,
    weight: C,
    mean: R,
    rstd: R,
    dOut: R * C,
    residual: RESIDUAL ? R * C : 4,
    dX: R * C,
  }),
  cases: [
    { R: 1, C: 1, RESIDUAL: 0 },
    { R: 3, C: 5, RESIDUAL: 1 },
    { R: 65, C: 63, RESIDUAL: 0 },
    { R: 33, C: 64, RESIDUAL: 1 },
    { R: 5, C: 257, RESIDUAL: 1 },
    { R: 2, C: 1024, RESIDUAL: 0 },
  ],
});
