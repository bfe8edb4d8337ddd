// One product per expert, whose terms are its rows: a^T b. Threads share the rows of out.

import { product } from '../matmul/product.as.ts';
import { zeroRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function groupedMatmulWeight(
  a: usize,
  b: usize,
  offsets: usize,
  out: usize,
  R: i32,
  M: i32,
  N: i32,
  E: i32,
  ACCUMULATE: i32,
  part: i32,
  parts: i32,
): void {
  const outBytes = (<usize>N) << 2;
  for (let e = 0; e < E; e++) {
    const from = load<i32>(offsets + ((<usize>e) << 2));
    const terms = load<i32>(offsets + ((<usize>e) << 2), 4) - from;
    const matrix = out + <usize>e * M * outBytes;
    if (terms > 0) {
      const left = a + ((<usize>from * M) << 2);
      product(left, b + <usize>from * outBytes, 0, 0, matrix, M, N, terms, 1, 0, 0, ACCUMULATE, 1, part, parts);
    } else if (!ACCUMULATE) {
      const to = firstOf(M, part + 1, parts);
      for (let i = firstOf(M, part, parts); i < to; i++) zeroRow(matrix + <usize>i * outBytes, N);
    }
  }
}
