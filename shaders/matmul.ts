// out [BATCH, M, N] (+)= act(SCALE * op(a) op(b) + bias) + residual. a is [M, K] ([K, M] if TRANS_A), b is [K, N] ([N, K] if TRANS_B).
// A_BATCH and B_BATCH are the elements between two batches, 0 shares one matrix. Unused bias and residual still need a buffer: pass `a`.
// 2 M N K flops per batch. The variants differ in the outputs per thread: big tiles load less, small tiles keep more threads busy.

import { defineKernel } from '../src/device/kernel.ts';
import type { Constants, Variant } from '../src/device/kernel.ts';
import scalarSource from './matmul.wgsl?raw';
import vec4Source from './matmul-vec4.wgsl?raw';

const PARAMS = {
  BATCH: 'number of products', M: 'rows of out', N: 'columns of out', K: 'terms of each sum',
  TRANS_A: '1 if a is stored [K, M]', TRANS_B: '1 if b is stored [N, K]',
  A_BATCH: 'elements between batches of a, 0 to share', B_BATCH: 'elements between batches of b, 0 to share',
  BIAS: '1 adds bias[N] before ACT', ACT: '0 none, 1 gelu (tanh form), 2 silu', RESIDUAL: '1 adds residual [BATCH, M, N] after ACT',
  ACCUMULATE: '1 adds to out', SCALE: 'factor of the product',
};
type MatmulParams = Readonly<Record<keyof typeof PARAMS, number>>;

/** Big tiles load less per flop, but leave at least 8 workgroups of 64 threads busy. */
const ENOUGH_THREADS = 512;
const MAX_WORKGROUPS = 65535;

function grid({ BATCH, M, N }: MatmulParams, { TILE_M, TILE_N, WG_X, WG_Y }: Constants): readonly [number, number, number] {
  return [Math.ceil(N / (TILE_N * WG_X)), Math.ceil(M / (TILE_M * WG_Y)), Math.min(BATCH, MAX_WORKGROUPS)];
}

function threads({ BATCH, M, N }: MatmulParams, tileM: number, tileN: number): number {
  return BATCH * Math.ceil(M / tileM) * Math.ceil(N / tileN);
}

/** Whether every row of four elements starts at a multiple of 16 bytes. */
function quads({ M, N, K, TRANS_A, A_BATCH, B_BATCH }: MatmulParams): boolean {
  return N % 4 === 0 && K % 4 === 0 && (!TRANS_A || M % 4 === 0) && A_BATCH % 4 === 0 && B_BATCH % 4 === 0;
}

function vec4Tile(tileM: number, tileN: number, wgX: number, wgY: number, least: number): Variant<MatmulParams> {
  return {
    name: `vec4-${tileM}x${tileN}`, source: vec4Source, grid,
    tune: { TILE_M: [tileM], TILE_N: [tileN], WG_X: [wgX], WG_Y: [wgY] },
    supports: (p) => quads(p) && threads(p, tileM, tileN) >= least,
  };
}

function scalarTile(tileM: number, tileN: number, wgX: number, wgY: number, least: number): Variant<MatmulParams> {
  return {
    name: `scalar-${tileM}x${tileN}`, source: scalarSource, grid,
    tune: { TILE_M: [tileM], TILE_N: [tileN], WG_X: [wgX], WG_Y: [wgY] },
    supports: (p) => threads(p, tileM, tileN) >= least,
  };
}

function activate(x: number, act: number): number {
  if (act === 1) return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  return act === 2 ? x / (1 + Math.exp(-x)) : x;
}

const plain = { BATCH: 1, TRANS_A: 0, TRANS_B: 0, A_BATCH: 0, B_BATCH: 0, BIAS: 0, ACT: 0, RESIDUAL: 0, ACCUMULATE: 0, SCALE: 1 };
const layouts = [[0, 0], [0, 1], [1, 0], [1, 1]].map(([TRANS_A, TRANS_B]) => ({ ...plain, TRANS_A, TRANS_B }));

export const matmul = defineKernel({
  name: 'matmul',
  bindings: { a: 'read', b: 'read', bias: 'read', residual: 'read', out: 'read_write' },
  params: PARAMS,
  variants: [
    vec4Tile(8, 8, 8, 8, ENOUGH_THREADS), vec4Tile(4, 4, 16, 4, 0),
    scalarTile(8, 8, 8, 8, ENOUGH_THREADS), scalarTile(4, 4, 16, 4, 0),
  ],
  cost: ({ BATCH, M, N, K, A_BATCH, B_BATCH, RESIDUAL, ACCUMULATE }) => ({
    flops: 2 * BATCH * M * N * K,
    bytes: 4 * ((A_BATCH ? BATCH : 1) * M * K + (B_BATCH ? BATCH : 1) * K * N + BATCH * M * N * (1 + RESIDUAL + ACCUMULATE)),
  }),
  reference({ a, b, bias, residual, out }, { BATCH, M, N, K, TRANS_A, TRANS_B, A_BATCH, B_BATCH, BIAS, ACT, RESIDUAL, ACCUMULATE, SCALE }) {
    const [aRow, aK] = TRANS_A ? [1, M] : [K, 1];
    const [bCol, bK] = TRANS_B ? [K, 1] : [1, N];
    for (let batch = 0; batch < BATCH; batch++) {
      for (let i = 0; i < M; i++) {
        for (let j = 0; j < N; j++) {
          let sum = 0;
          for (let k = 0, x = batch * A_BATCH + i * aRow, y = batch * B_BATCH + j * bCol; k < K; k++, x += aK, y += bK) sum += a[x] * b[y];
          const at = (batch * M + i) * N + j;
          out[at] = activate(SCALE * sum + (BIAS ? bias[j] : 0), ACT) + (RESIDUAL ? residual[at] : 0) + (ACCUMULATE ? out[at] : 0);
        }
      }
    }
  },
  sizes: ({ BATCH, M, N, K, A_BATCH, B_BATCH, BIAS, RESIDUAL }) => ({
    a: A_BATCH * (BATCH - 1) + M * K, b: B_BATCH * (BATCH - 1) + K * N, bias: BIAS ? N : 4, residual: RESIDUAL ? BATCH * M * N : 4, out: BATCH * M * N,
  }),
  cases: [
    { ...plain, M: 1, N: 1, K: 1 },
    { ...plain, M: 1, N: 4, K: 4 },
    ...layouts.map((layout) => ({ ...layout, M: 65, N: 63, K: 17 })),
    ...layouts.map((layout) => ({ ...layout, M: 12, N: 20, K: 8 })),
    // Enough rows and columns for the big tiles, with edges of one quad.
    { ...plain, M: 148, N: 220, K: 36 },
    { ...plain, M: 148, N: 220, K: 20, TRANS_A: 1 },
    { ...plain, TRANS_B: 1, M: 5, N: 72, K: 8, BIAS: 1, ACT: 1, RESIDUAL: 1, ACCUMULATE: 1, SCALE: 0.5 },
    { ...plain, TRANS_B: 1, M: 147, N: 220, K: 12, BIAS: 1, ACT: 2, RESIDUAL: 1, SCALE: -2 },
    { ...plain, TRANS_A: 1, M: 8, N: 20, K: 52, ACCUMULATE: 1 },
    { ...plain, BATCH: 5, M: 33, N: 36, K: 16, A_BATCH: 33 * 16, B_BATCH: 36 * 16, TRANS_B: 1, SCALE: 0.25 },
    { ...plain, BATCH: 3, M: 7, N: 9, K: 11, A_BATCH: 0, B_BATCH: 99 },
    { ...plain, BATCH: 3, M: 4, N: 8, K: 12, A_BATCH: 48, B_BATCH: 0, RESIDUAL: 1 },
  ],
});
