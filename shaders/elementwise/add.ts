// out = ALPHA a + BETA b, element by element; all three are [N]. a and b may be the same tensor, out may not be either
// (WebGPU's rule). Memory bound: 12 bytes per element.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './add.wgsl?raw';

export const add = defineKernel({
  name: 'add',
  bindings: { a: 'read', b: 'read', out: 'read_write' },
  params: { N: 'elements', ALPHA: 'factor of a', BETA: 'factor of b' },
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
  cost: ({ N }) => ({ flops: 3 * N, bytes: 12 * N }),
  reference({ a, b, out }, { N, ALPHA, BETA }) {
    for (let i = 0; i < N; i++) out[i] = ALPHA * a[i] + BETA * b[i];
  },
  sizes: ({ N }) => ({ a: N, b: N, out: N }),
  cases: [
    { N: 1, ALPHA: 1, BETA: 1 },
    { N: 63, ALPHA: 0.5, BETA: -2 },
    { N: 1000, ALPHA: 1, BETA: 1 },
  ],
});
