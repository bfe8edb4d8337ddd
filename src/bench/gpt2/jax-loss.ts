// The loss in jax-js, of the GPT step and of the loss workloads.

import type { Jax, JaxArray } from '../peers/jax-js.ts';

/**
 * Ones at the indices of each row, [R, V]. Not nn.oneHot, which makes a V x V matrix: 10 GB for a vocabulary of 50304.
 */
export function oneHot({ numpy }: Jax, indices: JaxArray, R: number, V: number): JaxArray {
  return numpy.where(
    numpy
      .arange(V)
      .reshape([1, V])
      .equal(indices.reshape([R, 1])),
    1,
    0,
  );
}

/** Mean over R rows of -log softmax at the target. */
export function meanLoss(jax: Jax, logits: JaxArray, targets: JaxArray, R: number, V: number): JaxArray {
  return jax.numpy.sum(jax.nn.logSoftmax(logits).mul(oneHot(jax, targets, R, V))).mul(-1 / R);
}
