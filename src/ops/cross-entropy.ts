// Linear head and softmax cross-entropy in one op: logits = x W^T, row loss = lse(logits) - logits[target], 0 where
// target is -100. x [R, D], W [rows, D] may be a vocabulary shard whose first row is token vStart; targets i32 [R]; out
// = row losses [R]. The vocabulary is walked in chunks of columns, so the logits of a long vocabulary are never whole
// in memory: each chunk's are folded into running (max, sum, target logit) and made again in the backward, where each
// chunk's gradient goes into dX and dW before the next chunk is made. The last chunk, with which the backward begins,
// keeps its logits; a short vocabulary is one chunk. A W recorded for later makes the others a third time. A sharded
// head passes `reduce`, which joins the statistics of all shards before lse is taken (the two-reduction form of
// Megatron-LM's vocabulary-parallel loss), and `reduceInput`, which sums dX over the shards.
// Memory beyond x, W and their gradients: R columnsOf(R, rows) elements. Cost: forward 2 R V D flops; backward 4 R V D,
// and 2 R D more for each column of all chunks but the last, twice that if W is late too.

import type { Recorder } from '../device/recorder.ts';
import type { Param, Tensor } from '../device/tensor.ts';
import { rows } from '../device/tensor.ts';
import { ceFinish } from '../../shaders/loss/ce-finish.ts';
import { ceGrad } from '../../shaders/loss/ce-grad.ts';
import { ceStats } from '../../shaders/loss/ce-stats.ts';
import { product } from './matmul.ts';
import { defineOp } from './op.ts';

/** Logits up to so many elements (4 MiB) are kept whole. */
const WHOLE = 2 ** 20;
const MIN_CHUNK = 1024,
  MAX_CHUNK = 8192;

/**
 * Columns per chunk for R rows: an eighth of a long vocabulary. A multiple of 64: 64 rows of W are a whole number of
 * 256-byte blocks for every hidden size.
 */
export function columnsOf(R: number, vocabulary: number): number {
  const columns = R * vocabulary <= WHOLE ? vocabulary : Math.min(MAX_CHUNK, Math.max(MIN_CHUNK, vocabulary / 8));
  return 64 * Math.ceil(columns / 64);
}

/**
 * Of each row, over the whole vocabulary: its largest logit, the sum of exp(logit - rowMax), and its target's logit (0
 * where that is ignored); each f32 [R]. rowMax and targetLogit are logits bit for bit: maxima, and sums with zeros.
 */
export interface LossStatistics {
  readonly rowMax: Tensor;
  readonly rowSum: Tensor;
  readonly targetLogit: Tensor;
}

/** Tensors for the statistics of R rows. */
export function lossStatistics(r: Recorder, R: number): LossStatistics {
  const [rowMax, rowSum, targetLogit] = ['max', 'sum', 'target'].map((label) => r.tensor([R], 'f32', label));
  return { rowMax, rowSum, targetLogit };
}

export interface CrossEntropyAttributes {
  /** First token of this shard, and the true vocabulary: columns at or above it are padding and never counted. */
  readonly vStart: number;
  readonly vocab: number;
  readonly reduce?: (r: Recorder, statistics: LossStatistics) => void;
  readonly reduceInput?: (r: Recorder, dX: Tensor) => Tensor;
  /** Columns per chunk, a multiple of 64; columnsOf by default. */
  readonly chunk?: number;
  /** Where the joined statistics go, for a caller that reads them; tensors of its own by default. */
  readonly statistics?: LossStatistics;
}

interface Saved {
  readonly x: Tensor;
  readonly targets: Tensor;
  readonly rowMax: Tensor;
  readonly rowSum: Tensor;
  /** Of the last chunk; its gradient after B. */ readonly logits: Tensor;
}
type Backward = (
  r: Recorder,
  dOut: Tensor,
  saved: Saved,
  weights: { w: Param },
  attrs: CrossEntropyAttributes,
  needs: { readonly x?: boolean },
) => { x?: Tensor };

/** The gradient of one chunk of logits: in place of the kept ones, or of logits made again. */
function chunkGradient(
  r: Recorder,
  dOut: Tensor,
  { x, targets, rowMax, rowSum, logits: kept }: Saved,
  part: Chunk,
  { vStart, vocab }: CrossEntropyAttributes,
): Tensor {
  const logits = part.last ? kept : product(r, x, part.w, { transB: true, label: 'logits' });
  r.launch(
    ceGrad,
    { logits, rowMax, rowSum, targets, rowScale: dOut },
    {
      R: x.shape[0],
      COLS: part.w.shape[0],
      COL_START: vStart + part.start,
      VOCAB: vocab,
      SMOOTHING: 0,
      SCALE: 1,
      HAS_ROW_SCALE: 1,
    },
  );
  return logits;
}

function backwardOf(withWeights: boolean): Backward {
  return (r, dOut, saved, { w }, attrs, needs) => {
    let dX: Tensor | undefined;
    // From the last: the memory of the kept logits is free for the next chunk.
    for (const part of chunks(w, saved.x, attrs).reverse()) {
      const gradient = chunkGradient(r, dOut, saved, part, attrs);
      if (needs.x) dX = product(r, gradient, part.w, { into: dX, label: 'dx' });
      if (withWeights) product(r, gradient, saved.x, { transA: true, into: part.grad });
    }
    return { x: dX && attrs.reduceInput ? attrs.reduceInput(r, dX) : dX };
  };
}

export const linearCrossEntropy = defineOp<{ x: Tensor; targets: Tensor }, { w: Param }, CrossEntropyAttributes, Saved>(
  {
    name: 'linear-cross-entropy',
    forward(r, { x, targets }, { w }, attrs) {
      const { vStart, vocab, reduce } = attrs;
      const R = x.shape[0];
      const { rowMax, rowSum, targetLogit } = attrs.statistics ?? lossStatistics(r, R);
      const [logitSum, lse, rowLoss] = ['logitSum', 'lse', 'rowLoss'].map((label) => r.tensor([R], 'f32', label));
      let logits!: Tensor;
      for (const { w: rowsOfW, start } of chunks(w, x, attrs)) {
        logits = product(r, x, rowsOfW, { transB: true, label: 'logits' });
        r.launch(
          ceStats,
          { logits, targets, rowMax, rowSum, targetLogit, logitSum },
          { R, COLS: rowsOfW.shape[0], COL_START: vStart + start, VOCAB: vocab, MERGE: start ? 1 : 0 },
        );
      }
      reduce?.(r, { rowMax, rowSum, targetLogit });
      r.launch(
        ceFinish,
        { rowMax, rowSum, targetLogit, logitSum, targets, lse, rowLoss },
        { R, VOCAB: vocab, SMOOTHING: 0 },
      );
      return { out: rowLoss, saved: { x, targets, rowMax, rowSum, logits } };
    },
    backward: backwardOf(true),
    backwardInput: backwardOf(false),
    backwardWeight(r, dOut, saved, { w }, attrs) {
      // The kept logits have become their gradient in B.
      for (const part of chunks(w, saved.x, attrs))
        product(r, part.last ? saved.logits : chunkGradient(r, dOut, saved, part, attrs), saved.x, {
          transA: true,
          into: part.grad,
        });
    },
  },
);

interface Chunk {
  readonly w: Tensor;
  readonly grad: Tensor;
  readonly start: number;
  readonly last: boolean;
}

function chunks(w: Param, x: Tensor, { chunk }: CrossEntropyAttributes): Chunk[] {
  const V = w.shape[0];
  const columns = chunk ?? columnsOf(x.shape[0], V);
  return Array.from({ length: Math.ceil(V / columns) }, (_, i) => {
    const start = i * columns;
    const end = Math.min(V, start + columns);
    return { w: rows(w, start, end), grad: rows(w.grad, start, end), start, last: end === V };
  });
}
