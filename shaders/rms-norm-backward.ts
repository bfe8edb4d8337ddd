// Gradient of RMS normalisation by its input: dX = rstd (g - xhat average(g xhat)), g = dOut weight, xhat = x rstd, the average over
// each row of [R, C]; rstd is rmsNorm's output. Memory bound.

import { linearGrid } from '../src/device/grid.ts';
import { defineKernel } from '../src/device/kernel.ts';
import vec4Source from './rms-norm-backward-vec4.wgsl?raw';
import source from './rms-norm-backward.wgsl?raw';

export const rmsNormBackward = defineKernel({
  name: 'rmsNormBackward',
  bindings: { x: 'read', weight: 'read', rstd: 'read', dOut: 'read', dX: 'read_write' },
  params: { R: 'rows', C: 'columns' },
  variants: [
    { name: 'vec4', source: vec4Source, tune: { WG: [32] }, supports: ({ C }) => C % 4 === 0, grid: ({ R }, { WG }) => linearGrid(R, WG) },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ R }, { WG }) => linearGrid(R, WG) },
  ],
  cost: ({ R, C }) => ({ flops: 10 * R * C, bytes: 4 * (3 * R * C + C + R) }),
  reference({ x, weight, rstd, dOut, dX }, { R, C }) {
    for (let r = 0; r < R; r++) {
      let gxMean = 0;
      for (let c = 0; c < C; c++) gxMean += dOut[r * C + c] * weight[c] * x[r * C + c] * rstd[r] / C;
      for (let c = 0; c < C; c++) dX[r * C + c] = rstd[r] * (dOut[r * C + c] * weight[c] - x[r * C + c] * rstd[r] * gxMean);
    }
  },
  sizes: ({ R, C }) => ({ x: R * C, weight: C, rstd: R, dOut: R * C, dX: R * C }),
  cases: [{ R: 1, C: 1 }, { R: 3, C: 5 }, { R: 65, C: 63 }, { R: 33, C: 64 }, { R: 5, C: 257 }, { R: 2, C: 1024 }],
});
