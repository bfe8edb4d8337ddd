// y = x W^T + b (+ residual). x [R, in], W [out, in], b [out], residual and y [R, out].
// B: dX = dY W; the residual's gradient is dY itself. W: dW += dY^T x, db += column sums of dY.

import type { Param, Tensor } from '../device/tensor.ts';
import { addColumnSum, product } from './matmul.ts';
import { defineOp } from './op.ts';

export const linear = defineOp<{ x: Tensor; residual?: Tensor }, { w: Param; b?: Param }, null, { x: Tensor }>({
  name: 'linear',
  forward(r, { x, residual }, { w, b }) {
    return { out: product(r, x, w, { transB: true, bias: b, residual, label: 'y' }), saved: { x } };
  },
  backwardInput(r, dOut, _saved, { w }, _attrs, needs) {
    return { x: needs.x ? product(r, dOut, w, { label: 'dx' }) : undefined, residual: dOut };
  },
  backwardWeight(r, dOut, { x }, { w, b }) {
    product(r, dOut, x, { transA: true, into: w.grad });
    if (b) addColumnSum(r, dOut, b.grad);
  },
});
