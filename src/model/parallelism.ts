// The seams of a model: where a layout may replace the plain op. A network calls these and never imports parallelism;
// `singleRank` below is the plain form and the truth for every test. parallel/compose.ts builds the others from the
// mesh.

import { InternalError } from '../base/errors.ts';
import { attention } from '../ops/attention.ts';
import type { AttentionAttributes } from '../ops/attention.ts';
import { linearCrossEntropy } from '../ops/cross-entropy.ts';
import type { LossStatistics } from '../ops/cross-entropy.ts';
import { embedding } from '../ops/embedding.ts';
import { experts } from '../ops/experts.ts';
import { linear } from '../ops/linear.ts';
import { product } from '../ops/matmul.ts';
import type { Tape } from '../ops/tape.ts';
import type { Param, Tensor } from '../device/tensor.ts';

/** This rank's place among the shards of tensors and tokens. */
export interface ShardPlace {
  readonly tp: { readonly rank: number; readonly size: number };
  readonly sp: { readonly rank: number; readonly size: number };
  readonly ep: { readonly rank: number; readonly size: number };
}

export interface ExpertWeights {
  readonly gate: Param;
  readonly gateUp: Param;
  readonly down: Param;
}

/**
 * A product whose sum over ranks is on its way. What is recorded before `settle` computes meanwhile, as Ladder Residual
 * does with the next sublayer.
 */
export interface Pending {
  /** The product [R, out], plus `residual` if there is one. To be called once. */
  settle(residual?: Tensor): Tensor;
}

export interface Parallelism extends ShardPlace {
  /** ids u32 [R] -> [R, C]; `table` holds this rank's rows of the vocabulary. */
  embedding(t: Tape, ids: Tensor, table: Param): Tensor;
  /** x [R, in] whole -> [R, out/tp]: W split by rows (output features). */
  columnLinear(t: Tape, x: Tensor, w: Param, b?: Param): Tensor;
  /** x [R, in/tp] -> [R, out] whole: W split by columns (input features), b added once. */
  rowLinear(t: Tape, x: Tensor, w: Param, b?: Param): Pending;
  /** qkv [B*T/sp, (H + 2 Hkv)/tp * D] -> [B*T/sp, H/tp * D]; `attrs` are the local sizes. */
  attention(t: Tape, qkv: Tensor, attrs: AttentionAttributes): Tensor;
  /** x [N, D] -> [N, D] through the top-k experts, plus `residual`. */
  experts(t: Tape, x: Tensor, w: ExpertWeights, attrs: { experts: number; perToken: number }, residual: Tensor): Tensor;
  /**
   * Row losses [R] of x [R, D] against targets i32 [R]; `head` holds this rank's rows of the vocabulary.
   * `statistics` receive those of the whole vocabulary, the same on every tp rank.
   */
  loss(t: Tape, x: Tensor, head: Param, targets: Tensor, vocab: number, statistics?: LossStatistics): Tensor;
  /** Logits of this rank's rows of the vocabulary, [R, V/tp]; for sampling only (no gradient). */
  logits(t: Tape, x: Tensor, head: Param): Tensor;
}

/** InternalError for a product that is settled twice, because its gradient would count twice. */
export function pending(settle: (residual?: Tensor) => Tensor): Pending {
  let settled = false;
  return {
    settle(residual) {
      if (settled) throw new InternalError('a pending product was settled twice; expected once');
      settled = true;
      return settle(residual);
    },
  };
}

export const singleRank: Parallelism = {
  tp: { rank: 0, size: 1 },
  sp: { rank: 0, size: 1 },
  ep: { rank: 0, size: 1 },
  embedding: (t, ids, table) => t.apply(embedding, { ids }, { table }, { vStart: 0 }),
  columnLinear: (t, x, w, b) => t.apply(linear, { x }, { w, b }, null),
  // Nothing is on its way: one launch adds the residual, too.
  rowLinear: (t, x, w, b) => pending((residual) => t.apply(linear, { x, residual }, { w, b }, null)),
  attention: (t, qkv, attrs) => t.apply(attention, { qkv }, {}, attrs),
  experts: (t, x, w, attrs, residual) => t.apply(experts, { x, residual }, { ...w }, { ...attrs, renormalise: true }),
  loss: (t, x, head, targets, vocab, statistics) =>
    t.apply(linearCrossEntropy, { x, targets }, { w: head }, { vStart: 0, vocab, statistics }),
  logits: (t, x, head) => product(t.recorder, x, head, { transB: true, label: 'logits' }),
};
