// Cases of the kernel contract that reach what those for the GPU are too small for.

import { matmul } from '../../shaders/matmul/matmul.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';

const [product] = matmul.cases;

/**
 * By kernel: products of several blocks of every kind (KC, MC, NC), ids that fill more than one table, rows of several
 * runs, more columns or parts than advance together.
 */
export const LARGE_CASES: Readonly<Record<string, readonly Params[]>> = {
  matmul: [
    { ...product!, M: 301, N: 21, K: 600, RESIDUAL: 1, BIAS: 1, ACT: 1, SCALE: 0.5 },
    { ...product!, M: 7, N: 1101, K: 270, TRANS_B: 1, ACCUMULATE: 1 },
    { ...product!, M: 9, N: 11, K: 300, TRANS_A: 1, ACCUMULATE: 1, ACT: 2 },
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
