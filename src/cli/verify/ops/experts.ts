// Mixture of experts with a hidden layer of gelu and biases, top-k gates (renormalised or raw) and a load-balancing
// loss: y, the routing and every gradient. x [N, D], Wr [D, E], W1 [E, D, F], b1 [E, F], W2 [E, F, D], b2 [E, D]. The
// model's op has SwiGLU experts, so the same kernels are strung together here.

import type { Tensor } from '../../../device/tensor.ts';
import { gelu } from '../../../ops/gelu.ts';
import { product } from '../../../ops/matmul.ts';
import { add } from '../../../../shaders/elementwise/add.ts';
import { gatherRows } from '../../../../shaders/moe/gather-rows.ts';
import { groupedColumnSum } from '../../../../shaders/moe/grouped-column-sum.ts';
import { groupedMatmulWeight } from '../../../../shaders/moe/grouped-matmul-weight.ts';
import { groupedMatmul } from '../../../../shaders/moe/grouped-matmul.ts';
import { moeCombineBackward } from '../../../../shaders/moe/moe-combine-backward.ts';
import { moeCombine } from '../../../../shaders/moe/moe-combine.ts';
import { moeGateBackward } from '../../../../shaders/moe/moe-gate-backward.ts';
import { moePermute } from '../../../../shaders/moe/moe-permute.ts';
import { routerBackward } from '../../../../shaders/moe/router-backward.ts';
import { routerTopK } from '../../../../shaders/moe/router-top-k.ts';
import type { Lab } from '../lab.ts';
import type { Operator, TorchCase } from '../operator.ts';

const ACTIVATIONS = ['gelu_tanh', 'gelu'];

function sizes(c: TorchCase) {
  const [N, D] = c.input('x').shape;
  const [E, , F] = c.input('W1').shape;
  const K = c.attributes.number('K', 2);
  return { N, D, E, F, K, A: N * K, RENORM: c.attributes.flag('renormalise') ? 1 : 0 };
}

/**
 * Routes the tokens, and takes the load-balancing loss with its gradient on the host: aux = coef E sum_e load_e mean_n
 * p_ne, load constant.
 */
function route(lab: Lab, c: TorchCase, x: Tensor, Wr: Tensor) {
  const { N, E, K, A, RENORM } = sizes(c);
  const r = lab.recorder;
  const [probs, dProbs] = ['probs', 'dprobs'].map((label) => r.tensor([N, E], 'f32', label));
  const [index, slotOf, source] = ['index', 'slotOf', 'source'].map((label) => r.tensor([A], 'u32', label));
  const offsets = r.tensor([E + 1], 'u32', 'offsets');
  const [gates, load, aux] = [
    r.tensor([N, K], 'f32', 'gates'),
    r.tensor([E], 'f32', 'load'),
    r.tensor([1], 'f32', 'aux'),
  ];
  r.launch(routerTopK, { logits: product(r, x, Wr), probs, index, gates }, { N, E, K, RENORM });
  r.launch(moePermute, { index, offsets, slotOf, source }, { A, E });
  const scale = c.attributes.number('coef', 0) * E;
  const upstream = c.inputs.get('daux')?.floats[0] ?? 0;
  r.wait(
    r.host('load balance', [index, probs], [load, aux, dProbs], async ([chosen, p], [share, loss, gradient]) => {
      const counts = new Float64Array(E);
      for (let n = 0; n < N; n++) counts[chosen[n * K]] += 1 / N;
      let sum = 0;
      for (let i = 0; i < N * E; i++) {
        sum += (counts[i % E] * p[i]) / N;
        gradient[i] = (upstream * scale * counts[i % E]) / N;
      }
      share.set(counts);
      loss[0] = scale * sum;
    }),
  );
  return { probs, dProbs, index, gates, offsets, slotOf, source, load, aux };
}

/** rows [R, K] times w[e] [K, M] (transposed: w[e] [M, K]) for the rows of each expert e, plus bias[e]. */
function grouped(lab: Lab, rows: Tensor, w: Tensor, offsets: Tensor, bias?: Tensor): Tensor {
  const [R, K] = rows.shape;
  const [E, first, second] = w.shape;
  const N = bias ? second : first;
  const out = lab.recorder.tensor([R, N], 'f32', 'grouped');
  lab.recorder.launch(
    groupedMatmul,
    { a: rows, b: w, bias: bias ?? rows, offsets, out },
    { R, N, K, E, TRANS_B: bias ? 0 : 1, BIAS: bias ? 1 : 0, ACCUMULATE: 0 },
  );
  return out;
}

/**
 * Gradients of an expert layer's weight [E, M, N] and bias [E, N] from its input rows a [R, M] and the gradient b [R,
 * N] of its output.
 */
function groupedGradients(
  lab: Lab,
  a: Tensor,
  b: Tensor,
  offsets: Tensor,
  E: number,
): { weight: Tensor; bias: Tensor } {
  const [R, M] = a.shape;
  const N = b.shape[1];
  const [weight, bias] = [lab.recorder.tensor([E, M, N], 'f32', 'dw'), lab.recorder.tensor([E, N], 'f32', 'db')];
  lab.recorder.launch(groupedMatmulWeight, { a, b, offsets, out: weight }, { R, M, N, E, ACCUMULATE: 0 });
  lab.recorder.launch(groupedColumnSum, { x: b, offsets, out: bias }, { R, C: N, E, ACCUMULATE: 0 });
  return { weight, bias };
}

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'moe',
    refuses: (c) =>
      ACTIVATIONS.includes(c.attributes.text('activation', 'gelu_tanh'))
        ? undefined
        : `the activation ${c.attributes.text('activation')}`,
    async run(lab, c) {
      const { N, D, E, K, A, RENORM } = sizes(c);
      const r = lab.recorder;
      const [x, Wr, W1, b1, W2, b2, dOut] = ['x', 'Wr', 'W1', 'b1', 'W2', 'b2', 'dy'].map((name) =>
        lab.floats(c.input(name)),
      );
      const { probs, dProbs, index, gates, offsets, slotOf, source, load, aux } = route(lab, c, x, Wr);

      const tokens = r.tensor([A, D], 'f32', 'sorted');
      r.launch(gatherRows, { x, source, out: tokens }, { R: A, C: D, DIV: K });
      const attributes = { tanh: c.attributes.text('activation', 'gelu_tanh') === 'gelu_tanh' };
      const { out: hidden, saved } = gelu.forward(r, { x: grouped(lab, tokens, W1, offsets, b1) }, {}, attributes);
      const expertOut = grouped(lab, hidden, W2, offsets, b2);
      const y = r.tensor([N, D], 'f32', 'y');
      r.launch(
        moeCombine,
        { y: expertOut, slotOf, gates, residual: expertOut, out: y },
        { N, C: D, K, GATED: 1, RESIDUAL: 0 },
      );

      const dGates = r.tensor([N, K], 'f32', 'dgates');
      r.launch(moeGateBackward, { dOut, y: expertOut, slotOf, dGates }, { N, C: D, K });
      const dLogits = r.tensor([N, E], 'f32', 'dlogits');
      r.launch(routerBackward, { probs, index, dGates, dProbs, dLogits }, { N, E, K, RENORM, HAS_DPROBS: 1 });
      const dY = r.tensor([A, D], 'f32', 'dy');
      r.launch(moeCombineBackward, { dOut, source, gates, dY }, { R: A, C: D, K });
      const second = groupedGradients(lab, hidden, dY, offsets, E);
      const { x: dHidden } = gelu.backwardInput!(r, grouped(lab, dY, W2, offsets), saved, {}, attributes, { x: true });
      const first = groupedGradients(lab, tokens, dHidden!, offsets, E);
      const dExperts = r.tensor([N, D], 'f32', 'dx');
      r.launch(
        moeCombine,
        { y: grouped(lab, dHidden!, W1, offsets), slotOf, gates, residual: gates, out: dExperts },
        { N, C: D, K, GATED: 0, RESIDUAL: 0 },
      );
      const dx = r.tensor([N, D], 'f32', 'dx');
      r.launch(
        add,
        { a: dExperts, b: product(r, dLogits, Wr, { transB: true }), out: dx },
        { N: N * D, ALPHA: 1, BETA: 1 },
      );
      return lab.run({
        y,
        aux,
        probs,
        gates,
        index,
        load,
        dx,
        dWr: product(r, x, dLogits, { transA: true }),
        dW1: first.weight,
        db1: first.bias,
        dW2: second.weight,
        db2: second.bias,
      });
    },
  },
];
