// Sigmoid linear unit of x [N]: out = x / (1 + exp(-x)). Memory bound: 8 bytes per element.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './silu.wgsl?raw';

export const silu = defineKernel({
  name: 'silu',
  bindings: { x: 'read', out: 'read_write' },
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
  cost: ({ N }) => ({ flops: 4 * N, bytes: 8 * N }),
  reference({ x, out }, { N }) {
    for (let i = 0; i < N; i++) out[i] = x[i] / (1 + Math.exp(-x[i]));
  },
  sizes: ({ N }) => ({ x: N, out: N }),
  cases: [{ N: 1 }, { N: 63 }, { N: 1028 }],
  testInput: (name, { N }, random) =>
    name === 'x' ? Float32Array.from({ length: N }, () => 60 * random() - 30) : undefined,
});
