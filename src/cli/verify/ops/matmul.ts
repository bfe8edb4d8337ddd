// Products: PyTorch's matmul and linear with their gradients, ONNX MatMul (batches broadcast, vectors) and Gemm (alpha
// a b + beta c).

import { elements, sameShape } from '../../../base/shape.ts';
import type { Shape } from '../../../base/shape.ts';
import { reshape } from '../../../device/tensor.ts';
import type { Tensor } from '../../../device/tensor.ts';
import { linear } from '../../../ops/linear.ts';
import { add } from '../../../../shaders/elementwise/add.ts';
import { matmul as kernel } from '../../../../shaders/matmul/matmul.ts';
import type { Lab } from '../lab.ts';
import { rowsAndColumns } from '../lab.ts';
import { slot } from '../operator.ts';
import type { Operator } from '../operator.ts';
import { broadcastShape, broadcastTo } from '../rearrange.ts';

interface Product {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly scale?: number;
  readonly bias?: Tensor;
  readonly residual?: Tensor;
}

/** Products over the leading dimensions of a; b has the same ones, or none and is shared. */
function products(
  lab: Lab,
  a: Tensor,
  b: Tensor,
  { transA = false, transB = false, scale = 1, bias, residual }: Product = {},
): Tensor {
  const batch = a.shape.length > 2 ? a.shape.slice(0, -2) : b.shape.slice(0, -2);
  const [M, K] = transA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
  const N = transB ? b.shape.at(-2)! : b.shape.at(-1)!;
  const out = lab.recorder.tensor([...batch, M, N], 'f32', 'product');
  lab.recorder.launch(
    kernel,
    { a, b, bias: bias ?? a, residual: residual ?? a, out },
    {
      BATCH: elements(batch),
      M,
      N,
      K,
      TRANS_A: transA ? 1 : 0,
      TRANS_B: transB ? 1 : 0,
      A_BATCH: a.shape.length > 2 ? M * K : 0,
      B_BATCH: b.shape.length > 2 ? K * N : 0,
      BIAS: bias ? 1 : 0,
      ACT: 0,
      RESIDUAL: residual ? 1 : 0,
      ACCUMULATE: 0,
      SCALE: scale,
    },
  );
  return out;
}

const leading = (shape: Shape): Shape => shape.slice(0, -2);

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'matmul',
    refuses: (c) =>
      sameShape(leading(c.input('A').shape), leading(c.input('B').shape))
        ? undefined
        : 'gradients through a broadcast batch',
    async run(lab, c) {
      const [A, B, dC] = ['A', 'B', 'dC'].map((name) => lab.floats(c.input(name)));
      return lab.run({
        C: products(lab, A, B),
        dA: products(lab, dC, B, { transB: true }),
        dB: products(lab, A, dC, { transA: true }),
      });
    },
  },
  {
    format: 'torch',
    op: 'linear',
    async run(lab, c) {
      const { R, C } = rowsAndColumns(c.input('x').shape);
      const [W, b] = [c.input('W'), c.inputs.get('b')];
      const x = lab.floats(c.input('x'), [R, C]);
      const dy = lab.floats(c.input('dy'), [R, W.shape[0]]);
      const weights = { w: lab.param(W.floats, W.shape), b: b && lab.param(b.floats, b.shape) };
      const { out: y, saved } = linear.forward(lab.recorder, { x }, weights, null);
      const { x: dx } = linear.backwardInput!(lab.recorder, dy, saved, weights, null, { x: true });
      linear.backwardWeight!(lab.recorder, dy, saved, weights, null);
      return lab.run({ y, dx: dx!, dW: weights.w.grad, db: weights.b?.grad });
    },
  },
  {
    format: 'onnx',
    op: 'MatMul',
    refuses: (c) => (slot(c, 0).isFloat ? undefined : 'integers'),
    async run(lab, c) {
      const [left, right] = [slot(c, 0).shape, slot(c, 1).shape];
      const a = lab.floats(slot(c, 0), left.length === 1 ? [1, ...left] : left);
      const b = lab.floats(slot(c, 1), right.length === 1 ? [...right, 1] : right);
      const batch = broadcastShape(leading(a.shape), leading(b.shape));
      // One matrix for all batches is shared without a copy.
      const spread = (x: Tensor): Tensor =>
        elements(leading(x.shape)) === 1
          ? reshape(x, x.shape.slice(-2))
          : broadcastTo(lab, x, [...batch, ...x.shape.slice(-2)]);
      return [(await lab.run({ y: products(lab, spread(a), spread(b)) })).y];
    },
  },
  {
    format: 'onnx',
    op: 'Gemm',
    refuses: (c) => (slot(c, 0).isFloat ? undefined : 'integers'),
    async run(lab, c) {
      const { attributes } = c;
      const [a, b] = [lab.floats(slot(c, 0)), lab.floats(slot(c, 1))];
      const [transA, transB, scale] = [
        attributes.flag('transA'),
        attributes.flag('transB'),
        attributes.number('alpha', 1),
      ];
      const [M, N] = [transA ? a.shape[1] : a.shape[0], transB ? b.shape[0] : b.shape[1]];
      const given = c.inputs[2];
      if (!given) return [(await lab.run({ y: products(lab, a, b, { transA, transB, scale }) })).y];
      const beta = attributes.number('beta', 1);
      let addend = lab.floats(given);
      if (beta !== 1) {
        const scaled = lab.recorder.tensor(given.shape, 'f32', 'scaled');
        lab.recorder.launch(
          add,
          { a: addend, b: addend, out: scaled },
          { N: elements(given.shape), ALPHA: beta, BETA: 0 },
        );
        addend = scaled;
      }
      // A row of the right length is the kernel's bias; anything else becomes a whole matrix.
      const row = given.shape.at(-1) === N && elements(given.shape) === N;
      return [
        (
          await lab.run({
            y: products(lab, a, b, {
              transA,
              transB,
              scale,
              ...(row ? { bias: addend } : { residual: broadcastTo(lab, addend, [M, N]) }),
            }),
          })
        ).y,
      ];
    },
  },
];
