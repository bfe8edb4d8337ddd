// Megatron-LM tensor parallelism of linear layers over the tp group. Column: W split by output features, forward local,
// dX all-reduced (operator f). Row: W split by input features, partial products all-reduced (operator g), then bias and
// residual added once, at once or later (Ladder Residual); dX local. Per layer and microbatch 2 all-reduces forward and
// 2 backward of [R, hidden]: 8 (t-1)/t R hidden elements sent per rank (more where R hidden is so small that an
// exchange is quicker: allReduceRoute). Source: Shoeybi et al. 2019, section 3; parallelism.md section 10.

import type { GroupRef } from '../../collectives/group.ts';
import type { Ticket } from '../../device/recorder.ts';
import type { Param, Tensor } from '../../device/tensor.ts';
import { pending } from '../../model/parallelism.ts';
import type { Parallelism } from '../../model/parallelism.ts';
import { addRow } from '../../ops/add-row.ts';
import { beginAllReduce, recordAllReduce } from '../../ops/collective.ts';
import { linear } from '../../ops/linear.ts';
import { addColumnSum, product } from '../../ops/matmul.ts';
import { defineOp } from '../../ops/op.ts';
import type { Op } from '../../ops/op.ts';
import type { Tape } from '../../ops/tape.ts';

/** x [R, in] whole -> [R, out/t]. */
export function columnLinear(group: GroupRef): Op<{ x: Tensor }, { w: Param; b?: Param }, null, { x: Tensor }> {
  return defineOp<{ x: Tensor }, { w: Param; b?: Param }, null, { x: Tensor }>({
    name: 'column-linear',
    forward: (r, { x }, w) => linear.forward(r, { x }, w, null),
    backwardInput(r, dOut, _saved, { w }, _attrs, needs) {
      return { x: needs.x ? recordAllReduce(r, group, product(r, dOut, w, { label: 'dx' })) : undefined };
    },
    backwardWeight: (r, dOut, saved, w) => linear.backwardWeight!(r, dOut, saved, w, null),
  });
}

/**
 * x [R, in/t] -> [R, out] whole: the sum of the partial products begins at once, and is waited for where it is settled,
 * with bias and residual. Both launches and the all-reduce are the same whenever that is.
 */
export function rowLinear(group: GroupRef): Parallelism['rowLinear'] {
  return (t, x, w, b) => {
    const { sum, ticket } = beginRowLinear(t, group, x, w, b);
    return pending((residual) => {
      t.recorder.wait(ticket);
      return residual || b ? t.apply(settled, { sum, residual }, {}, { bias: b }) : sum;
    });
  };
}

function beginRowLinear(t: Tape, group: GroupRef, x: Tensor, w: Param, b: Param | undefined) {
  let begun: Ticket | undefined;
  const op = defineOp<{ x: Tensor }, { w: Param; b?: Param }, null, { x: Tensor }>({
    name: 'row-linear',
    forward(r, { x }, { w }) {
      const { sum, ticket } = beginAllReduce(r, group, product(r, x, w, { transB: true, label: 'partial' }));
      begun = ticket;
      return { out: sum, saved: { x } };
    },
    backwardInput(r, dOut, _saved, { w }, _attrs, needs) {
      return { x: needs.x ? product(r, dOut, w, { label: 'dx' }) : undefined };
    },
    backwardWeight(r, dOut, { x }, { w, b }) {
      product(r, dOut, x, { transA: true, into: w.grad });
      // The same on every tp rank: the bias is replicated and its gradient is computed from whole rows.
      if (b) addColumnSum(r, dOut, b.grad);
    },
  });
  const sum = t.apply(op, { x }, { w, b }, null);
  return { sum, ticket: begun! };
}

/** sum + bias + residual. The bias's gradient is that of the product, which has it. */
const settled = defineOp<
  { sum: Tensor; residual?: Tensor },
  Record<string, never>,
  { bias: Param | undefined },
  Record<string, never>
>({
  name: 'settled',
  forward: (r, { sum, residual }, _w, { bias }) => ({ out: addRow(r, sum, residual, bias), saved: {} }),
  backwardInput: (_r, dOut) => ({ sum: dOut, residual: dOut }),
});
