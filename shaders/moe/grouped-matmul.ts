// out [R, N] (+)= a[r, :] op(b[e]) + bias[e] where row r belongs to expert e: offsets[e] <= r < offsets[e + 1]. a is
// [R, K], b is [E, K, N] ([E, N, K] if TRANS_B), bias [E, N]. Experts may be empty. Rows from offsets[E] on are written
// 0, or left alone if ACCUMULATE. The grid is sized for the worst split of the rows; threads find their expert by
// walking offsets. 2 R N K flops.

import { defineKernel } from '../../src/device/kernel.ts';
import type { Constants, Params } from '../../src/device/kernel.ts';
import { testOffsets } from './moe-permute.ts';
import vec4Source from './grouped-matmul-vec4.wgsl?raw';
import source from './grouped-matmul.wgsl?raw';

/** Big tiles load less per flop, but leave at least 8 workgroups of 64 threads busy. */
const ENOUGH_THREADS = 512;

/** Row tiles if every group (the experts, and the rows of nobody) ends in a partial tile. */
const rowTiles = ({ R, E }: Params, tile: number): number => Math.floor(R / tile) + E + 1;

const grid = (p: Params, { TILE_M, TILE_N, WG_X, WG_Y }: Constants): readonly [number, number, number] => [
  Math.ceil(p.N / (TILE_N * WG_X)),
  Math.ceil(rowTiles(p, TILE_M) / WG_Y),
  1,
];

const square = (tile: number, wgX: number, wgY: number) => ({
  TILE_M: [tile],
  TILE_N: [tile],
  WG_X: [wgX],
  WG_Y: [wgY],
});

export const groupedMatmul = defineKernel({
  name: 'groupedMatmul',
  bindings: { a: 'read', b: 'read', bias: 'read', offsets: 'read u32', out: 'read_write' },
  params: {
    R: 'rows',
    N: 'columns of out',
    K: 'terms of each sum',
    E: 'experts',
    TRANS_B: '1 if b is stored [E, N, K]',
    BIAS: '1 adds bias',
    ACCUMULATE: '1 adds to out',
  },
  variants: [
    {
      name: 'vec4-8x8',
      source: vec4Source,
      tune: square(8, 8, 8),
      grid,
      supports: ({ R, N, K, E }) =>
        N % 4 === 0 && K % 4 === 0 && Math.ceil(R / 8) * Math.ceil(N / 8) >= ENOUGH_THREADS && R >= 8 * E,
    },
    {
      name: 'vec4-4x4',
      quick: () => true,
      source: vec4Source,
      tune: square(4, 16, 4),
      grid,
      supports: ({ N, K }) => N % 4 === 0 && K % 4 === 0,
    },
    { name: 'scalar-4x4', source, tune: square(4, 16, 4), grid },
  ],
  cost: ({ R, N, K, E, ACCUMULATE }) => ({
    flops: 2 * R * N * K,
    bytes: 4 * (R * K + E * K * N + R * N * (1 + ACCUMULATE)),
  }),
  reference({ a, b, bias, offsets, out }, { R, N, K, E, TRANS_B, BIAS, ACCUMULATE }) {
    const [bCol, bK] = TRANS_B ? [K, 1] : [1, N];
    for (let e = 0; e <= E; e++) {
      const end = e < E ? offsets[e + 1] : R;
      for (let r = offsets[e]; r < end; r++) {
        for (let j = 0; j < N; j++) {
          let sum = ACCUMULATE ? out[r * N + j] : 0;
          if (e < E) {
            for (let k = 0; k < K; k++) sum += a[r * K + k] * b[e * K * N + j * bCol + k * bK];
            if (BIAS) sum += bias[e * N + j];
          }
          out[r * N + j] = sum;
        }
      }
    }
  },
  sizes: ({ R, N, K, E, BIAS }) => ({ a: R * K, b: E * N * K, bias: BIAS ? E * N : 4, offsets: E + 1, out: R * N }),
  testInput: (name, { R, E }, random) => (name === 'offsets' ? testOffsets(R, E, random) : undefined),
  cases: [
    { R: 1, N: 1, K: 1, E: 1, TRANS_B: 0, BIAS: 0, ACCUMULATE: 0 },
    { R: 65, N: 63, K: 17, E: 5, TRANS_B: 1, BIAS: 1, ACCUMULATE: 0 },
    { R: 65, N: 63, K: 17, E: 5, TRANS_B: 0, BIAS: 0, ACCUMULATE: 1 },
    { R: 30, N: 20, K: 12, E: 8, TRANS_B: 1, BIAS: 0, ACCUMULATE: 1 },
    { R: 30, N: 20, K: 12, E: 8, TRANS_B: 0, BIAS: 1, ACCUMULATE: 0 },
    { R: 150, N: 260, K: 20, E: 6, TRANS_B: 1, BIAS: 1, ACCUMULATE: 0 },
    { R: 150, N: 260, K: 20, E: 6, TRANS_B: 0, BIAS: 0, ACCUMULATE: 1 },
  ],
});
