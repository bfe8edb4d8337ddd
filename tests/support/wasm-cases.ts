// Cases of the kernel contract that reach what those for the GPU are too small for.

import { matmul } from '../../shaders/matmul/matmul.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';

const [product] = matmul.cases;

const TRANSPOSES = [
  { TRANS_A: 0, TRANS_B: 0 },
  { TRANS_A: 0, TRANS_B: 1 },
  { TRANS_A: 1, TRANS_B: 0 },
  { TRANS_A: 1, TRANS_B: 1 },
];

/**
 * By kernel: products of several blocks of every kind (KC, MC, NC), and those that pack nothing: of few rows or
 * columns, with terms and columns that no block divides; ids that fill more than one table, rows of several runs, more
 * columns or parts than advance together.
 */
export const LARGE_CASES: Readonly<Record<string, readonly Params[]>> = {
  matmul: [
    { ...product!, M: 301, N: 21, K: 600, RESIDUAL: 1, BIAS: 1, ACT: 1, SCALE: 0.5 },
    { ...product!, M: 13, N: 1101, K: 270, TRANS_B: 1, ACCUMULATE: 1 },
    { ...product!, M: 9, N: 11, K: 300, TRANS_A: 1, ACCUMULATE: 1, ACT: 2 },
    ...TRANSPOSES.flatMap((transposes) => [
      { ...product!, ...transposes, M: 1, N: 4103, K: 13 },
      { ...product!, ...transposes, M: 3, N: 39, K: 1030, BIAS: 1, ACT: 1, RESIDUAL: 1, ACCUMULATE: 1, SCALE: 0.5 },
      { ...product!, ...transposes, M: 11, N: 530, K: 9 },
      { ...product!, ...transposes, M: 530, N: 7, K: 9, BIAS: 1, ACT: 2, RESIDUAL: 1, ACCUMULATE: 1, SCALE: -2 },
      { ...product!, ...transposes, M: 37, N: 1, K: 1030, RESIDUAL: 1, ACCUMULATE: 1 },
      { ...product!, ...transposes, M: 14, N: 24, K: 30, ACCUMULATE: 1, SCALE: 0.5 },
    ]),
  ],
  groupedMatmulWeight: [{ R: 700, M: 9, N: 10, E: 2, ACCUMULATE: 1 }],
  embeddingLinks: [{ R: 140_000 }],
  ceStats: [{ R: 3, COLS: 5003, COL_START: 0, VOCAB: 5003, MERGE: 1 }],
  softmax: [
    { OUTER: 2, C: 4099, INNER: 1, LOG: 0 },
    { OUTER: 2, C: 4099, INNER: 1, LOG: 1 },
  ],
  columnSum: [{ R: 19, C: 2051, ACCUMULATE: 1 }],
  layerNormBackwardWeight: [{ R: 7, C: 1101, ACCUMULATE: 1, BIAS_AT: 1104 }],
  rmsNormBackwardWeight: [{ R: 7, C: 1101, ACCUMULATE: 1 }],
  squareBins: [
    { N: 8000, GROUP: 4, PARTS: 150 },
    { N: 8000, GROUP: 1, PARTS: 150 },
  ],
  reduceSum: [{ N: 9001, SQUARE: 1, PARTS: 600 }],
};

export function wasmCases(kernel: Kernel): readonly Params[] {
  return [...kernel.cases, ...(LARGE_CASES[kernel.name] ?? [])];
}
