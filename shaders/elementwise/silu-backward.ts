// dX = dOut s (1 + x (1 - s)) with s = 1 / (1 + exp(-x)), all [N]. Memory bound: 12 bytes per element.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './silu-backward.wgsl?raw';

export const siluBackward = defineKernel({
  name: 'siluBackward',
  bindings: { x: 'read', dOut: 'read', dX: 'read_write' },
  params: { N: 'elements' },
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
  cost: ({ N }) => ({ flops: 8 * N, bytes: 12 * N }),
  reference({ x, dOut, dX }, { N }) {
    for (let i = 0; i < N; i++) {
      const s = 1 / (1 + Math.exp(-x[i]));
      dX[i] = dOut[i] * s * (1 + x[i] * (1 - s));
    }
  },
  sizes: ({ N }) => ({ x: N, dOut: N, dX: N }),
  cases: [{ N: 1 }, { N: 63 }, { N: 1028 }],
  testInput: (name, { N }, random) =>
    name === 'x' ? Float32Array.from({ length: N }, () => 60 * random() - 30) : undefined,
});
