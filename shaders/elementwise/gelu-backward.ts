// dX = dOut gelu'(x), all [N], in the tanh or the erf form (see gelu.ts). Memory bound: 12 bytes per element.

import { erf } from '../../src/base/erf.ts';
import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './gelu-backward.wgsl?raw';

export const geluBackward = defineKernel({
  name: 'geluBackward',
  bindings: { x: 'read', dOut: 'read', dX: 'read_write' },
  params: { N: 'elements', TANH: '1 tanh form, 0 erf form' },
  dynamic: { N: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ N }) => N % 4 === 0,
      grid: ({ N }, { WG }) => linearGrid(N / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ N }, { WG }) => linearGrid(N, WG) },
  ],
  cost: ({ N }) => ({ flops: 20 * N, bytes: 12 * N }),
  reference({ x, dOut, dX }, { N, TANH }) {
    const k = Math.sqrt(2 / Math.PI);
    for (let i = 0; i < N; i++) {
      const v = x[i];
      if (TANH) {
        const t = Math.tanh(k * (v + 0.044715 * v ** 3));
        dX[i] = dOut[i] * (0.5 * (1 + t) + 0.5 * v * (1 - t * t) * k * (1 + 3 * 0.044715 * v * v));
      } else {
        const density = Math.exp(-0.5 * v * v) / Math.sqrt(2 * Math.PI);
        dX[i] = dOut[i] * (0.5 * (1 + erf(v / Math.SQRT2)) + v * density);
      }
    }
  },
  sizes: ({ N }) => ({ x: N, dOut: N, dX: N }),
  cases: [
    { N: 1, TANH: 1 },
    { N: 63, TANH: 0 },
    { N: 1028, TANH: 1 },
    { N: 1028, TANH: 0 },
  ],
  testInput: (name, { N }, random) =>
    name === 'x' ? Float32Array.from({ length: N }, () => 24 * random() - 12) : undefined,
});
