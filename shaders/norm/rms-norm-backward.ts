// Gradient of RMS normalisation by its input: dX = (residual +) rstd (g - xhat average(g xhat)), g = dOut weight, xhat
// = x rstd, the average over each row of [R, C]; rstd is rmsNorm's output. `residual` [R, C] is the gradient that
// reaches x past the norm; unused it still needs a buffer. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './rms-norm-backward.wgsl?raw';

export const rmsNormBackward = defineKernel({
  name: 'rmsNormBackward',
  bindings: { x: 'read', weight: 'read', rstd: 'read', dOut: 'read', residual: 'read', dX: 'read_write' },
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
  cost: ({ R, C, RESIDUAL }) => ({ flops: (10 + RESIDUAL) * R * C, bytes: 4 * ((3 + RESIDUAL) * R * C + C + R) }),
  reference({ x, weight, rstd, dOut, residual, dX }, { R, C, RESIDUAL }) {
    for (let r = 0; r < R; r++) {
      let gxMean = 0;
      for (let c = 0; c < C; c++) gxMean += (dOut[r * C + c] * weight[c] * x[r * C + c] * rstd[r]) / C;
      for (let c = 0; c < C; c++)
        dX[r * C + c] =
          (RESIDUAL ? residual[r * C + c] : 0) +
          rstd[r] * (dOut[r * C + c] * weight[c] - x[r * C + c] * rstd[r] * gxMean);
    }
  },
  sizes: ({ R, C, RESIDUAL }) => ({
    x: R * C,
    weight: C,
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
