// Linear head and softmax cross-entropy in one op: logits = x W^T, row loss = lse(logits) - logits[target], 0 where target is -100. x [R, D],
// W [rows, D] may be a vocabulary shard whose first row is token vStart; targets i32 [R]; out = row losses [R].
// The vocabulary is walked in chunks of columns; each chunk's logits are folded into running (max, sum, target logit). One chunk keeps its logits for
// the backward, several are recomputed there. A sharded head passes `reduce`, which joins the statistics of all shards before lse is taken (the
// two-reduction form of Megatron-LM's vocabulary-parallel loss), and `reduceInput`, which sums dX over the shards.

import type { Recorder } from '../device/recorder.ts';
import type { Param, Tensor } from '../device/tensor.ts';
import { rows } from '../device/tensor.ts';
import { ceFinish } from '../../shaders/ce-finish.ts';
import { ceGrad } from '../../shaders/ce-grad.ts';
import { ceStats } from '../../shaders/ce-stats.ts';
import { product } from './matmul.ts';
import { defineOp } from './op.ts';

/** Columns per chunk of the vocabulary; 64 rows of W are a whole number of 256-byte blocks for every hidden size. */
const CHUNK = 8192;

export interface LossStatistics { readonly rowMax: Tensor; readonly rowSum: Tensor; readonly targetLogit: Tensor }

export interface CrossEntropyAttributes {
  /** First token of this shard, and the true vocabulary: columns at or above it are padding and never counted. */
  readonly vStart: number;
  readonly vocab: number;
  readonly reduce?: (r: Recorder, statistics: LossStatistics) => void;
  readonly reduceInput?: (r: Recorder, dX: Tensor) => Tensor;
}

interface Saved { readonly x: Tensor; readonly targets: Tensor; readonly rowMax: Tensor; readonly rowSum: Tensor; readonly logits: Tensor | undefined; gradients?: readonly Tensor[] }

export const linearCrossEntropy = defineOp<{ x: Tensor; targets: Tensor }, { w: Param }, CrossEntropyAttributes, Saved>({
  name: 'linear-cross-entropy',
  forward(r, { x, targets }, { w }, { vStart, vocab, reduce }) {
    const R = x.shape[0];
    const [rowMax, rowSum, targetLogit, logitSum, lse, rowLoss] = ['max', 'sum', 'target', 'logitSum', 'lse', 'rowLoss'].map((label) => r.tensor([R], 'f32', label));
    const parts = chunks(w);
    let logits: Tensor | undefined;
    parts.forEach((part, i) => {
      logits = product(r, x, part.w, { transB: true, label: 'logits' });
      r.launch(ceStats, { logits, targets, rowMax, rowSum, targetLogit, logitSum }, { R, COLS: part.w.shape[0], COL_START: vStart + part.start, VOCAB: vocab, MERGE: i ? 1 : 0 });
    });
    reduce?.(r, { rowMax, rowSum, targetLogit });
    r.launch(ceFinish, { rowMax, rowSum, targetLogit, logitSum, targets, lse, rowLoss }, { R, VOCAB: vocab, SMOOTHING: 0 });
    return { out: rowLoss, saved: { x, targets, rowMax, rowSum, logits: parts.length === 1 ? logits : undefined } };
  },
  backwardInput(r, dOut, saved, { w }, { vStart, vocab, reduceInput }, needs) {
    const { x, targets, rowMax, rowSum } = saved;
    const R = x.shape[0];
    let dX: Tensor | undefined;
    saved.gradients = chunks(w).map((part) => {
      const logits = saved.logits ?? product(r, x, part.w, { transB: true, label: 'logits' });
      r.launch(ceGrad, { logits, rowMax, rowSum, targets, rowScale: dOut }, { R, COLS: part.w.shape[0], COL_START: vStart + part.start, VOCAB: vocab, SMOOTHING: 0, SCALE: 1, HAS_ROW_SCALE: 1 });
      if (needs.x) dX = product(r, logits, part.w, { into: dX, label: 'dx' });
      return logits;
    });
    return { x: dX && reduceInput ? reduceInput(r, dX) : dX };
  },
  backwardWeight(r, _dOut, saved, { w }) {
    chunks(w).forEach((part, i) => { product(r, saved.gradients![i], saved.x, { transA: true, into: part.grad }); });
  },
});

function chunks(w: Param): readonly { w: Tensor; grad: Tensor; start: number }[] {
  const V = w.shape[0];
  return Array.from({ length: Math.ceil(V / CHUNK) }, (_, i) => {
    const start = i * CHUNK;
    const end = Math.min(V, start + CHUNK);
    return { w: rows(w, start, end), grad: rows(w.grad, start, end), start };
  });
}
