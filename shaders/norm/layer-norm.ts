// Layer normalisation of the rows of x [R, C]: out = (x - mean) rstd weight + bias, rstd = 1 / sqrt(var + EPS), var
// divided by C. Also writes mean [R] and rstd [R] for the backward kernels. Exact for rows far from zero (see the
// .wgsl). Memory bound. Source: Ba, Kiros and Hinton, https://arxiv.org/abs/1607.06450, equations 3 and 4.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './layer-norm.wgsl?raw';

export const layerNorm = defineKernel({
  name: 'layerNorm',
  bindings: { x: 'read', weight: 'read', bias: 'read', out: 'read_write', mean: 'read_write', rstd: 'read_write' },
  params: { R: 'rows', C: 'columns', EPS: 'added to the variance' },
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
  cost: ({ R, C }) => ({ flops: 8 * R * C, bytes: 4 * (2 * R * C + 2 * C + 2 * R) }),
  reference({ x, weight, bias, out, mean, rstd }, { R, C, EPS }) {
    for (let r = 0; r < R; r++) {
      let sum = 0;
      for (let c = 0; c < C; c++) sum += x[r * C + c];
      const average = sum / C;
      let square = 0;
      for (let c = 0; c < C; c++) square += (x[r * C + c] - average) ** 2;
      const scale = 1 / Math.sqrt(square / C + EPS);
      for (let c = 0; c < C; c++) out[r * C + c] = (x[r * C + c] - average) * scale * weight[c] + bias[c];
      mean[r] = average;
      rstd[r] = scale;
    }
  },
  sizes: ({ R, C }) => ({ x: R * C, weight: C, bias: C, out: R * C, mean: R, rstd: R }),
  cases: [
    { R: 1, C: 1, EPS: 1e-5 },
    { R: 3, C: 5, EPS: 1e-5 },
    { R: 65, C: 63, EPS: 1e-5 },
    { R: 33, C: 64, EPS: 1e-5 },
    { R: 5, C: 257, EPS: 1e-5 },
    { R: 2, C: 1024, EPS: 1e-5 },
  ],
  testInput(name, { R, C }, random) {
    if (name !== 'x') return undefined;
    // Every third row lies around 1000: its variance must survive.
    return Float32Array.from({ length: R * C }, (_, i) => (Math.floor(i / C) % 3 === 2 ? 1000 : 0) + 4 * random() - 2);
  },
});
