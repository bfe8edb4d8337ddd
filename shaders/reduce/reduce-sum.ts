// PARTS partial sums of x [N], or of its squares (SQUARE 1): partials[p] adds the groups of four elements p, p + PARTS,
// p + 2 PARTS, ... The host adds the partials in f64. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import vec4Source from './reduce-sum-vec4.wgsl?raw';
import source from './reduce-sum.wgsl?raw';

export const reduceSum = defineKernel({
  name: 'reduceSum',
  bindings: { x: 'read', partials: 'read_write' },
  params: { N: 'elements', SQUARE: '1 sums squares', PARTS: 'partial sums, one thread each' },
  dynamic: { N: 'u32', PARTS: 'u32' },
  variants: [
    {
      name: 'vec4',
      source: vec4Source,
      tune: { WG: [32] },
      supports: ({ N }) => N % 4 === 0,
      grid: ({ PARTS }, { WG }) => linearGrid(PARTS, WG),
    },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ PARTS }, { WG }) => linearGrid(PARTS, WG) },
  ],
  cost: ({ N, SQUARE, PARTS }) => ({ flops: (1 + SQUARE) * N, bytes: 4 * (N + PARTS) }),
  reference({ x, partials }, { N, SQUARE, PARTS }) {
    const sums = new Float64Array(PARTS);
    for (let i = 0; i < N; i++) sums[Math.floor(i / 4) % PARTS] += SQUARE ? x[i] * x[i] : x[i];
    partials.set(sums);
  },
  sizes: ({ N, PARTS }) => ({ x: N, partials: PARTS }),
  cases: [
    { N: 1, SQUARE: 0, PARTS: 1 },
    { N: 1001, SQUARE: 1, PARTS: 7 },
    { N: 5, SQUARE: 0, PARTS: 64 },
    { N: 40000, SQUARE: 1, PARTS: 256 },
    { N: 4096, SQUARE: 0, PARTS: 33 },
  ],
});
