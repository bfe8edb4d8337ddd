// Recording of products of row-major matrices; the only place that knows how the matmul kernel wants its params.
// out[b] = scale * op(a[b]) op(b[b]) (+ bias) (+ residual), or out += ... with `accumulate`.

import { ShapeError } from '../base/errors.ts';
import { formatShape } from '../base/shape.ts';
import type { Recorder } from '../device/recorder.ts';
import type { Tensor } from '../device/tensor.ts';
import { columnSum } from '../../shaders/reduce/column-sum.ts';
import { matmul as kernel } from '../../shaders/matmul/matmul.ts';

export interface ProductOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly bias?: Tensor;
  readonly residual?: Tensor;
  /** Adds into this tensor instead of writing a new one. */
  readonly into?: Tensor;
  /** Writes into this tensor. */
  readonly out?: Tensor;
  readonly label?: string;
}

/** a [M, K] times b [K, N] (before transposition flags); 2-D only. Returns [M, N]. */
export function product(r: Recorder, a: Tensor, b: Tensor, options: ProductOptions = {}): Tensor {
  const { transA = false, transB = false, bias, residual, into } = options;
  const [M, K] = transA ? [a.shape[1], a.shape[0]] : [a.shape[0], a.shape[1]];
  const [K2, N] = transB ? [b.shape[1], b.shape[0]] : [b.shape[0], b.shape[1]];
  if (K !== K2)
    throw new ShapeError(
      `matmul: inner sizes of ${formatShape(a.shape)} and ${formatShape(b.shape)} (${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}) differ: ${K} and ${K2}`,
    );
  const out = into ?? options.out ?? r.tensor([M, N], 'f32', options.label ?? 'product');
  r.launch(
    kernel,
    { a, b, bias: bias ?? a, residual: residual ?? a, out },
    {
      BATCH: 1,
      M,
      N,
      K,
      TRANS_A: transA ? 1 : 0,
      TRANS_B: transB ? 1 : 0,
      A_BATCH: 0,
      B_BATCH: 0,
      BIAS: bias ? 1 : 0,
      ACT: 0,
      RESIDUAL: residual ? 1 : 0,
      ACCUMULATE: into ? 1 : 0,
      SCALE: 1,
    },
  );
  return out;
}

/** into[C] += sum over rows of x [R, C]. */
export function addColumnSum(r: Recorder, x: Tensor, into: Tensor): void {
  r.launch(columnSum, { x, out: into }, { R: x.shape[0], C: x.shape[1], ACCUMULATE: 1 });
}
