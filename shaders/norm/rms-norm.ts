// Root-mean-square normalisation of the rows of x [R, C]: out = x rstd weight, rstd = 1 / sqrt(average(x^2) + EPS).
// Also writes rstd [R] for the backward kernels. Memory bound. Source: Zhang and Sennrich,
// https://arxiv.org/abs/1910.07467, equation 4.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './rms-norm.wgsl?raw';

export const rmsNorm = defineKernel({
  name: 'rmsNorm',
  bindings: { x: 'read', weight: 'read', out: 'read_write', rstd: 'read_write' },
  params: { R: 'rows', C: 'columns', EPS: 'added to the mean square' },
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
  cost: ({ R, C }) => ({ flops: 4 * R * C, bytes: 4 * (2 * R * C + C + R) }),
  reference({ x, weight, out, rstd }, { R, C, EPS }) {
    for (let r = 0; r < R; r++) {
      let square = 0;
      for (let c = 0; c < C; c++) square += x[r * C + c] ** 2;
      const scale = 1 / Math.sqrt(square / C + EPS);
      for (let c = 0; c < C; c++) out[r * C + c] = x[r * C + c] * scale * weight[c];
      rstd[r] = scale;
    }
  },
  sizes: ({ R, C }) => ({ x: R * C, weight: C, out: R * C, rstd: R }),
  cases: [
    { R: 1, C: 1, EPS: 1e-5 },
    { R: 3, C: 5, EPS: 1e-5 },
    { R: 65, C: 63, EPS: 1e-5 },
    { R: 33, C: 64, EPS: 1e-5 },
    { R: 5, C: 257, EPS: 1e-5 },
    { R: 2, C: 1024, EPS: 1e-5 },
  ],
});
