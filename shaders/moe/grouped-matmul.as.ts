// One product per expert: its rows lie together. Threads share the rows of each.

import { product } from '../matmul/product.as.ts';
import { zeroRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function groupedMatmul(
  a: usize,
  b: usize,
  bias: usize,
  offsets: usize,
  out: usize,
  R: i32,
  N: i32,
  K: i32,
  E: i32,
  TRANS_B: i32,
  BIAS: i32,
  ACCUMULATE: i32,
  part: i32,
  parts: i32,
): void {
  const aBytes = (<usize>K) << 2;
  const outBytes = (<usize>N) << 2;
  for (let e = 0; e < E; e++) {
    const from = load<i32>(offsets + ((<usize>e) << 2));
    const rows = load<i32>(offsets + ((<usize>e) << 2), 4) - from;
    product(
      a + <usize>from * aBytes,
      b + <usize>e * N * aBytes,
      BIAS ? bias + <usize>e * outBytes : 0,
      0,
      out + <usize>from * outBytes,
      rows,
      N,
      K,
      0,
      TRANS_B,
      0,
      ACCUMULATE,
      1,
      part,
      parts,
    );
  }
  if (ACCUMULATE) return;
  // Rows of nobody.
  const used = load<i32>(offsets + ((<usize>E) << 2));
  const to = used + firstOf(R - used, part + 1, parts);
  for (let r = used + firstOf(R - used, part, parts); r < to; r++) zeroRow(out + <usize>r * outBytes, N);
}
