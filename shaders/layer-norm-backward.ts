// Gradient of layer normalisation by its input: dX = rstd (g - average(g) - xhat average(g xhat)), g = dOut weight,
// xhat = (x - mean) rstd, averages over each row of [R, C]; mean and rstd are layerNorm's outputs. Memory bound.

import { linearGrid } from '../src/device/grid.ts';
import { defineKernel } from '../src/device/kernel.ts';
import vec4Source from './layer-norm-backward-vec4.wgsl?raw';
import source from './layer-norm-backward.wgsl?raw';

export const layerNormBackward = defineKernel({
  name: 'layerNormBackward',
  bindings: { x: 'read', weight: 'read', mean: 'read', rstd: 'read', dOut: 'read', dX: 'read_write' },
  params: { R: 'rows', C: 'columns' },
  variants: [
    { name: 'vec4', source: vec4Source, tune: { WG: [32] }, supports: ({ C }) => C % 4 === 0, grid: ({ R }, { WG }) => linearGrid(R, WG) },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ R }, { WG }) => linearGrid(R, WG) },
  ],
  cost: ({ R, C }) => ({ flops: 14 * R * C, bytes: 4 * (3 * R * C + C + 2 * R) }),
  reference({ x, weight, mean, rstd, dOut, dX }, { R, C }) {
    for (let r = 0; r < R; r++) {
      const xhat = (c: number): number => (x[r * C + c] - mean[r]) * rstd[r];
      let gMean = 0;
      let gxMean = 0;
      for (let c = 0; c < C; c++) {
        const g = dOut[r * C + c] * weight[c];
        gMean += g / C;
        gxMean += g * xhat(c) / C;
      }
      for (let c = 0; c < C; c++) dX[r * C + c] = rstd[r] * (dOut[r * C + c] * weight[c] - gMean - xhat(c) * gxMean);
    }
  },
  sizes: ({ R, C }) => ({ x: R * C, weight: C, mean: R, rstd: R, dOut: R * C, dX: R * C }),
  cases: [{ R: 1, C: 1 }, { R: 3, C: 5 }, { R: 65, C: 63 }, { R: 33, C: 64 }, { R: 5, C: 257 }, { R: 2, C: 1024 }],
});
