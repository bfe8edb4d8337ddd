// Mixture of SwiGLU experts, dropless top-k (Mixtral): p = softmax(x gate^T) in f32, the k largest, g = p / sum p; y =
// sum_k g_k E_k(x) (+ residual), E(x) = (silu(x w1^T) * (x w3^T)) w2^T. x, residual, y [N, D]; gate [E, D]; gateUp [El,
// 2F, D] (w1 | w3 rows); down [El, D, F]. Tokens are sorted by expert (A = N k rows), run through grouped products, and
// combined in fixed order: no float atomics, no capacity, nothing dropped. With experts spread over ranks (El < E)
// `exchange` moves the sorted rows to the experts' owners and back.

import type { Recorder } from '../device/recorder.ts';
import type { Param, Tensor } from '../device/tensor.ts';
import { gatherRows } from '../../shaders/moe/gather-rows.ts';
import { groupedMatmulWeight } from '../../shaders/moe/grouped-matmul-weight.ts';
import { groupedMatmul } from '../../shaders/moe/grouped-matmul.ts';
import { moeCombineBackward } from '../../shaders/moe/moe-combine-backward.ts';
import { moeCombine } from '../../shaders/moe/moe-combine.ts';
import { moeGateBackward } from '../../shaders/moe/moe-gate-backward.ts';
import { moePermute } from '../../shaders/moe/moe-permute.ts';
import { routerBackward } from '../../shaders/moe/router-backward.ts';
import { routerTopK } from '../../shaders/moe/router-top-k.ts';
import { swigluBackward } from '../../shaders/elementwise/swiglu-backward.ts';
import { swiglu } from '../../shaders/elementwise/swiglu.ts';
import { product } from './matmul.ts';
import { defineOp } from './op.ts';

/**
 * Rows at their experts: [capacity, D], rows offsets[e]..offsets[e+1]-1 for local expert e. `counts` lets later
 * exchanges repeat the routing.
 */
export interface DispatchedRows {
  readonly rows: Tensor;
  readonly offsets: Tensor;
  readonly counts: Tensor;
}

export interface ExpertExchange {
  /** Sends rows [A, D], sorted by global expert with boundaries `offsets` [E+1], to the ranks that own the experts. */
  dispatch(r: Recorder, rows: Tensor, offsets: Tensor): DispatchedRows;
  /** The same routing for other rows (the backward). */
  redispatch(r: Recorder, rows: Tensor, offsets: Tensor, counts: Tensor): Tensor;
  /** Brings rows at the experts back to the order of `dispatch`'s input: [A, D]. */
  collect(r: Recorder, rows: Tensor, offsets: Tensor, counts: Tensor): Tensor;
}

export interface ExpertsAttributes {
  readonly experts: number;
  readonly perToken: number;
  readonly renormalise: boolean;
  readonly exchange?: ExpertExchange;
  /** Joins partial outputs (tensor parallelism inside experts); its dual sums dX. */
  readonly reduce?: (r: Recorder, x: Tensor) => Tensor;
}

type Weights = { gate: Param; gateUp: Param; down: Param };
interface Saved {
  readonly x: Tensor;
  readonly probs: Tensor;
  readonly index: Tensor;
  readonly gates: Tensor;
  readonly offsets: Tensor;
  readonly slotOf: Tensor;
  readonly source: Tensor;
  readonly at: DispatchedRows;
  readonly hidden: Tensor;
  readonly active: Tensor;
  readonly y: Tensor;
  gradients?: { readonly dY: Tensor; readonly dHidden: Tensor; readonly dLogits: Tensor };
}

export const experts = defineOp<{ x: Tensor; residual?: Tensor }, Weights, ExpertsAttributes, Saved>({
  name: 'experts',
  forward(r, { x, residual }, { gate, gateUp, down }, { experts: E, perToken: K, renormalise, exchange, reduce }) {
    const [N, D] = x.shape;
    const A = N * K;
    const logits = product(r, x, gate, { transB: true, label: 'routerLogits' });
    const probs = r.tensor([N, E], 'f32', 'probs');
    const index = r.tensor([N, K], 'u32', 'index');
    const gates = r.tensor([N, K], 'f32', 'gates');
    r.launch(routerTopK, { logits, probs, index, gates }, { N, E, K, RENORM: renormalise ? 1 : 0 });
    const offsets = r.tensor([E + 1], 'u32', 'offsets');
    const slotOf = r.tensor([A], 'u32', 'slotOf');
    const source = r.tensor([A], 'u32', 'source');
    r.launch(moePermute, { index, offsets, slotOf, source }, { A, E });
    const sorted = r.tensor([A, D], 'f32', 'sorted');
    r.launch(gatherRows, { x, source, out: sorted }, { R: A, C: D, DIV: K });
    const at = exchange ? exchange.dispatch(r, sorted, offsets) : { rows: sorted, offsets, counts: offsets };
    const hidden = grouped(r, at.rows, gateUp, at.offsets, true, 'hidden');
    const [R, F] = [hidden.shape[0], hidden.shape[1] / 2];
    const active = r.tensor([R, F], 'f32', 'active');
    r.launch(swiglu, { gateUp: hidden, out: active }, { R, F });
    const partial = grouped(r, active, down, at.offsets, true, 'expertOut');
    const yAt = reduce ? reduce(r, partial) : partial;
    const y = exchange ? exchange.collect(r, yAt, offsets, at.counts) : yAt;
    const out = r.tensor([N, D], 'f32', 'experts');
    r.launch(
      moeCombine,
      { y, slotOf, gates, residual: residual ?? y, out },
      { N, C: D, K, GATED: 1, RESIDUAL: residual ? 1 : 0 },
    );
    return { out, saved: { x, probs, index, gates, offsets, slotOf, source, at, hidden, active, y } };
  },
  backwardInput(r, dOut, saved, { gate, gateUp, down }, { experts: E, perToken: K, renormalise, exchange, reduce }) {
    const { x, probs, index, gates, offsets, slotOf, source, at, hidden, y } = saved;
    const [N, D] = x.shape;
    const A = N * K;
    const dGates = r.tensor([N, K], 'f32', 'dgates');
    r.launch(moeGateBackward, { dOut, y, slotOf, dGates }, { N, C: D, K });
    const dLogits = r.tensor([N, E], 'f32', 'dlogits');
    r.launch(
      routerBackward,
      { probs, index, dGates, dProbs: probs, dLogits },
      { N, E, K, RENORM: renormalise ? 1 : 0, HAS_DPROBS: 0 },
    );
    const dSorted = r.tensor([A, D], 'f32', 'dsorted');
    r.launch(moeCombineBackward, { dOut, source, gates, dY: dSorted }, { R: A, C: D, K });
    const dY = exchange ? exchange.redispatch(r, dSorted, offsets, at.counts) : dSorted;
    const dActive = grouped(r, dY, down, at.offsets, false, 'dactive');
    const dHidden = r.tensor(hidden.shape, 'f32', 'dhidden');
    r.launch(
      swigluBackward,
      { gateUp: hidden, dOut: dActive, dGateUp: dHidden },
      { R: hidden.shape[0], F: hidden.shape[1] / 2 },
    );
    const partial = grouped(r, dHidden, gateUp, at.offsets, false, 'drows');
    const dRows = reduce ? reduce(r, partial) : partial;
    const back = exchange ? exchange.collect(r, dRows, offsets, at.counts) : dRows;
    const dExperts = r.tensor([N, D], 'f32', 'dxExperts');
    r.launch(
      moeCombine,
      { y: back, slotOf, gates, residual: back, out: dExperts },
      { N, C: D, K, GATED: 0, RESIDUAL: 0 },
    );
    const dX = product(r, dLogits, gate, { residual: dExperts, label: 'dx' });
    saved.gradients = { dY, dHidden, dLogits };
    return { x: dX, residual: dOut };
  },
  backwardWeight(r, _dOut, { x, at, active, gradients }, { gate, gateUp, down }) {
    const { dY, dHidden, dLogits } = gradients!;
    product(r, dLogits, x, { transA: true, into: gate.grad });
    addGroupedProduct(r, dY, active, at.offsets, down.grad);
    addGroupedProduct(r, dHidden, at.rows, at.offsets, gateUp.grad);
  },
});

/** rows of expert e times w[e] (transposed if `transposed`): [R, K] -> [R, N]. */
function grouped(r: Recorder, rows: Tensor, w: Tensor, offsets: Tensor, transposed: boolean, label: string): Tensor {
  const [R, K] = rows.shape;
  const [E] = w.shape;
  const N = transposed ? w.shape[1] : w.shape[2];
  const out = r.tensor([R, N], 'f32', label);
  r.launch(
    groupedMatmul,
    { a: rows, b: w, bias: rows, offsets, out },
    { R, N, K, E, TRANS_B: transposed ? 1 : 0, BIAS: 0, ACCUMULATE: 0 },
  );
  return out;
}

/** into[e] += a_e^T b_e over the rows of expert e. */
function addGroupedProduct(r: Recorder, a: Tensor, b: Tensor, offsets: Tensor, into: Tensor): void {
  r.launch(
    groupedMatmulWeight,
    { a, b, offsets, out: into },
    { R: a.shape[0], M: a.shape[1], N: b.shape[1], E: into.shape[0], ACCUMULATE: 1 },
  );
}
