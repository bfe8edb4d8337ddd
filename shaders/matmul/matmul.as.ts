// Batched products with what follows them: one product after another.

import { product } from './product.as.ts';

export function matmul(
  a: usize,
  b: usize,
  bias: usize,
  residual: usize,
  out: usize,
  BATCH: i32,
  M: i32,
  N: i32,
  K: i32,
  TRANS_A: i32,
  TRANS_B: i32,
  A_BATCH: i32,
  B_BATCH: i32,
  BIAS: i32,
  ACT: i32,
  RESIDUAL: i32,
  ACCUMULATE: i32,
  SCALE: f32,
  part: i32,
  parts: i32,
): void {
  // One tall product is the same, and packs b once.
  if (B_BATCH === 0 && A_BATCH === M * K && !TRANS_A) {
    M *= BATCH;
    BATCH = 1;
  }
  for (let batch = 0; batch < BATCH; batch++) {
    const at = (<usize>batch * M * N) << 2;
    product(
      a + ((<usize>batch * A_BATCH) << 2),
      b + ((<usize>batch * B_BATCH) << 2),
      BIAS ? bias : 0,
      RESIDUAL ? residual + at : 0,
      out + at,
      M,
      N,
      K,
      TRANS_A,
      TRANS_B,
      ACT,
      ACCUMULATE,
      SCALE,
      part,
      parts,
    );
  }
}
