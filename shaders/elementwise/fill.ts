// out = VALUE in all N elements. Used to clear accumulators inside a plan. Memory bound: 4 bytes per element.
// Its largest case is the one that folds the grid (see grid.ts).

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './fill.wgsl?raw';

export const fill = defineKernel({
  name: 'fill',
  bindings: { out: 'read_write' },
  params: { N: 'elements', VALUE: 'written everywhere' },
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
  cost: ({ N }) => ({ flops: 0, bytes: 4 * N }),
  reference({ out }, { N, VALUE }) {
    out.fill(VALUE, 0, N);
  },
  sizes: ({ N }) => ({ out: N }),
  cases: [
    { N: 1, VALUE: 1 },
    { N: 257, VALUE: -0.1 },
    { N: 1024, VALUE: 0 },
    { N: 65535 * 64 + 4, VALUE: 2 },
  ],
});
