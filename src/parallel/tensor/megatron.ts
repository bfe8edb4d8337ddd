// Megatron-LM tensor parallelism of linear layers over the tp group. Column: W split by output features, forward local,
// dX all-reduced (operator f). Row: W split by input features, partial products all-reduced (operator g), then bias and
// residual added once; dX local. Per layer and microbatch 2 all-reduces forward and 2 backward of [R, hidden]: 8
// (t-1)/t R hidden elements sent per rank (more where R hidden is so small that an exchange is quicker:
// allReduceRoute). Source: Shoeybi et al. 2019, section 3; parallelism.md section 10.

import type { Group } from '../../collectives/group.ts';
import type { Param, Tensor } from '../../device/tensor.ts';
import { addRow } from '../../ops/add-row.ts';
import { recordAllReduce } from '../../ops/collective.ts';
import { linear } from '../../ops/linear.ts';
import { addColumnSum, product } from '../../ops/matmul.ts';
import { defineOp } from '../../ops/op.ts';
import type { Op } from '../../ops/op.ts';

type LinearOp<I extends Readonly<Record<string, Tensor | undefined>>> = Op<
  I,
  { w: Param; b?: Param },
  null,
  { x: Tensor }
>;

/** x [R, in] whole -> [R, out/t]. */
export function columnLinear(group: Group): LinearOp<{ x: Tensor }> {
  return defineOp<{ x: Tensor }, { w: Param; b?: Param }, null, { x: Tensor }>({
    name: 'column-linear',
    forward: (r, { x }, w) => linear.forward(r, { x }, w, null),
    backwardInput(r, dOut, _saved, { w }, _attrs, needs) {
      return { x: needs.x ? recordAllReduce(r, group, product(r, dOut, w, { label: 'dx' })) : undefined };
    },
    backwardWeight: (r, dOut, saved, w) => linear.backwardWeight!(r, dOut, saved, w, null),
  });
}

/** x [R, in/t] -> [R, out] whole, plus bias and residual. */
export function rowLinear(group: Group): LinearOp<{ x: Tensor; residual: Tensor }> {
  return defineOp<{ x: Tensor; residual: Tensor }, { w: Param; b?: Param }, null, { x: Tensor }>({
    name: 'row-linear',
    forward(r, { x, residual }, { w, b }) {
      const partial = product(r, x, w, { transB: true, label: 'partial' });
      return { out: addRow(r, recordAllReduce(r, group, partial), residual, b), saved: { x } };
    },
    backwardInput(r, dOut, _saved, { w }, _attrs, needs) {
      return { x: needs.x ? product(r, dOut, w, { label: 'dx' }) : undefined, residual: dOut };
    },
    backwardWeight(r, dOut, { x }, { w, b }) {
      product(r, dOut, x, { transA: true, into: w.grad });
      // The same on every tp rank: the bias is replicated and its gradient is computed from whole rows.
      if (b) addColumnSum(r, dOut, b.grad);
    },
  });
}
