// STREAM's loops, which only move memory: out = a (KIND 0), SCALE a (1), a + b (2), a + SCALE b (3); all are [N]. N
// must be divisible by 4. QUADS runs of four elements per thread, a workgroup's width apart. They measure the bandwidth
// that other kernels are held against. Source: McCalpin, STREAM, 1995.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './stream.wgsl?raw';

export const stream = defineKernel({
  name: 'stream',
  bindings: { a: 'read', b: 'read', out: 'read_write' },
  params: {
    N: 'elements',
    KIND: '0 copy, 1 scale, 2 add, 3 triad',
    SCALE: 'factor',
    QUADS: 'runs of four elements per thread',
  },
  variants: [
    {
      name: 'vec4',
      source,
      tune: { WG: [64] },
      grid: ({ N, QUADS }, { WG }) => linearGrid(Math.ceil(N / (4 * QUADS)), WG),
    },
  ],
  cost: ({ N, KIND }) => ({ flops: [0, 1, 1, 2][KIND] * N, bytes: (KIND < 2 ? 8 : 12) * N }),
  reference({ a, b, out }, { N, KIND, SCALE }) {
    const terms = [
      (i: number) => a[i],
      (i: number) => SCALE * a[i],
      (i: number) => a[i] + b[i],
      (i: number) => a[i] + SCALE * b[i],
    ];
    for (let i = 0; i < N; i++) out[i] = terms[KIND](i);
  },
  sizes: ({ N }) => ({ a: N, b: N, out: N }),
  cases: [
    { N: 4, KIND: 3, SCALE: 2, QUADS: 1 },
    { N: 1000, KIND: 0, SCALE: 3, QUADS: 4 },
    { N: 1000, KIND: 1, SCALE: 3, QUADS: 1 },
    { N: 2052, KIND: 2, SCALE: 3, QUADS: 2 },
    { N: 5000, KIND: 3, SCALE: 3, QUADS: 8 },
  ],
});
