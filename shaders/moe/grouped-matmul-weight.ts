// out[e, M, N] (+)= sum over the rows r of expert e (offsets[e] <= r < offsets[e + 1]) of a[r, :]^T b[r, :]; a is [R,
// M], b is [R, N]: the gradient of the experts' weights. An empty expert gets zeros (or keeps out if ACCUMULATE). 2 R M
// N flops.

import { defineKernel } from '../../src/device/kernel.ts';
import type { Constants, Params } from '../../src/device/kernel.ts';
import { testOffsets } from './moe-permute.ts';
import vec4Source from './grouped-matmul-weight-vec4.wgsl?raw';
import source from './grouped-matmul-weight.wgsl?raw';

/** Big tiles load less per flop, but leave at least 8 workgroups of 64 threads busy. */
const ENOUGH_THREADS = 512;
const MAX_WORKGROUPS = 65535;

const grid = ({ M, N, E }: Params, { TILE_M, TILE_N, WG_X, WG_Y }: Constants): readonly [number, number, number] => [
  Math.ceil(N / (TILE_N * WG_X)),
  Math.ceil(M / (TILE_M * WG_Y)),
  Math.min(E, MAX_WORKGROUPS),
];

const square = (tile: number) => ({ TILE_M: [tile], TILE_N: [tile], WG_X: [8], WG_Y: [8] });

export const groupedMatmulWeight = defineKernel({
  name: 'groupedMatmulWeight',
  bindings: { a: 'read', b: 'read', offsets: 'read u32', out: 'read_write' },
  params: { R: 'rows', M: 'columns of a', N: 'columns of b', E: 'experts', ACCUMULATE: '1 adds to out' },
  variants: [
    {
      name: 'vec4-8x8',
      source: vec4Source,
      tune: square(8),
      grid,
      supports: ({ M, N, E }) =>
        M % 4 === 0 && N % 4 === 0 && E * Math.ceil(M / 8) * Math.ceil(N / 8) >= ENOUGH_THREADS,
    },
    {
      name: 'vec4-4x4',
      quick: () => true,
      source: vec4Source,
      tune: square(4),
      grid,
      supports: ({ M, N }) => M % 4 === 0 && N % 4 === 0,
    },
    { name: 'scalar-4x4', source, tune: square(4), grid },
  ],
  cost: ({ R, M, N, E, ACCUMULATE }) => ({
    flops: 2 * R * M * N,
    bytes: 4 * (R * (M + N) + E * M * N * (1 + ACCUMULATE)),
  }),
  reference({ a, b, offsets, out }, { M, N, E, ACCUMULATE }) {
    for (let e = 0; e < E; e++) {
      for (let i = 0; i < M; i++) {
        for (let j = 0; j < N; j++) {
          let sum = ACCUMULATE ? out[(e * M + i) * N + j] : 0;
          for (let r = offsets[e]; r < offsets[e + 1]; r++) sum += a[r * M + i] * b[r * N + j];
          out[(e * M + i) * N + j] = sum;
        }
      }
    }
  },
  sizes: ({ R, M, N, E }) => ({ a: R * M, b: R * N, offsets: E + 1, out: E * M * N }),
  testInput: (name, { R, E }, random) => (name === 'offsets' ? testOffsets(R, E, random) : undefined),
  cases: [
    { R: 1, M: 1, N: 1, E: 1, ACCUMULATE: 0 },
    { R: 65, M: 63, N: 17, E: 5, ACCUMULATE: 1 },
    { R: 40, M: 20, N: 36, E: 8, ACCUMULATE: 0 },
    { R: 50, M: 100, N: 132, E: 3, ACCUMULATE: 1 },
  ],
});
