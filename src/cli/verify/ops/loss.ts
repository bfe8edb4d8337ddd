// Cross-entropy: PyTorch's with row losses, lse and gradient, also fused with the head; ONNX SoftmaxCrossEntropyLoss
// and NegativeLogLikelihoodLoss on [N, C, d1, ...] with class weights and ignore_index. Row values come from the
// kernels; the host sums them in f64, as the trainer does.

import { elements } from '../../../base/shape.ts';
import type { Tensor } from '../../../device/tensor.ts';
import { linearCrossEntropy } from '../../../ops/cross-entropy.ts';
import { add } from '../../../../shaders/elementwise/add.ts';
import { ceFinish } from '../../../../shaders/loss/ce-finish.ts';
import { ceGrad } from '../../../../shaders/loss/ce-grad.ts';
import { ceStats } from '../../../../shaders/loss/ce-stats.ts';
import { scaleRows } from '../../../../shaders/elementwise/scale-rows.ts';
import type { Lab } from '../lab.ts';
import { rowsAndColumns } from '../lab.ts';
import { slot } from '../operator.ts';
import type { CaseTensor, OnnxCase, OnnxOperator, Operator, Values } from '../operator.ts';
import { permute, takeRows } from '../rearrange.ts';
import { recordSoftmax } from './softmax.ts';

/** What the kernels take for "this row does not count". */
const IGNORED = -100;

const total = (values: Values): number => Array.from(values).reduce((sum, value) => sum + value, 0);

/** Class ids with the ignored one renamed, and how many rows count. */
function readTargets(tensor: CaseTensor, ignore: number | undefined): { ids: Int32Array<ArrayBuffer>; count: number } {
  const ids = tensor.integers.map((id) => (id === ignore ? IGNORED : id));
  return { ids, count: ids.filter((id) => id !== IGNORED).length };
}

function recordStatistics(lab: Lab, logits: Tensor, targets: Tensor) {
  const [R, COLS] = logits.shape;
  const [rowMax, rowSum, targetLogit, logitSum] = ['max', 'sum', 'target', 'logitSum'].map((label) =>
    lab.recorder.tensor([R], 'f32', label),
  );
  lab.recorder.launch(
    ceStats,
    { logits, targets, rowMax, rowSum, targetLogit, logitSum },
    { R, COLS, COL_START: 0, VOCAB: COLS, MERGE: 0 },
  );
  return { rowMax, rowSum, targetLogit, logitSum };
}

function recordRows(
  lab: Lab,
  statistics: { rowMax: Tensor; rowSum: Tensor; targetLogit: Tensor; logitSum: Tensor },
  targets: Tensor,
  VOCAB: number,
  SMOOTHING: number,
): { lse: Tensor; rowLoss: Tensor } {
  const [R] = targets.shape;
  const [lse, rowLoss] = ['lse', 'rowLoss'].map((label) => lab.recorder.tensor([R], 'f32', label));
  lab.recorder.launch(ceFinish, { ...statistics, targets, lse, rowLoss }, { R, VOCAB, SMOOTHING });
  return { lse, rowLoss };
}

/** ONNX's loss over [N, C, d1, ...]; `rows` records minus the logarithm of the target's probability, [R]. */
function onnxLoss(op: string, rows: (lab: Lab, logits: Tensor, targets: Tensor) => Tensor): OnnxOperator {
  return {
    format: 'onnx',
    op,
    async run(lab, c) {
      const { shape } = slot(c, 0);
      const [N, C] = shape;
      const D = elements(shape.slice(2));
      const x = lab.floats(slot(c, 0), [N, C, D]);
      const logits = { ...permute(lab, x, [0, 2, 1]), shape: [N * D, C] };
      const { ids, count } = readTargets(
        slot(c, 1),
        c.attributes.has('ignore_index') ? c.attributes.number('ignore_index') : undefined,
      );
      let loss = rows(lab, logits, lab.data(ids));
      const weight = c.inputs[2];
      let used: Tensor | undefined;
      if (weight) {
        // Row C does not exist: ignored rows weigh 0.
        used = takeRows(
          lab,
          lab.floats(weight),
          1,
          Uint32Array.from(ids, (id) => (id === IGNORED ? C : id)),
        );
        const weighted = lab.recorder.tensor(loss.shape, 'f32', 'weighted');
        lab.recorder.launch(scaleRows, { x: loss, scale: used, out: weighted }, { R: N * D, C: 1 });
        loss = weighted;
      }
      const logProbabilities = c.wanted[1] && recordSoftmax(lab, x, 1, 1);
      const got = await lab.run({ loss, used, logProbabilities });
      return [reduce(c, got.loss, got.used ? total(got.used) : count), got.logProbabilities];
    },
  };
}

function reduce(c: OnnxCase, rows: Values, weight: number): Values {
  const reduction = c.attributes.text('reduction', 'mean');
  return reduction === 'none' ? rows : [reduction === 'sum' ? total(rows) : total(rows) / weight];
}

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'cross_entropy',
    async run(lab, c) {
      const { R, C: V } = rowsAndColumns(c.input('logits').shape);
      const SMOOTHING = c.attributes.number('label_smoothing', 0);
      const { ids, count } = readTargets(c.input('target'), c.attributes.number('ignore_index', IGNORED));
      const logits = lab.floats(c.input('logits'), [R, V]);
      const targets = lab.data(ids);
      const statistics = recordStatistics(lab, logits, targets);
      const { lse, rowLoss } = recordRows(lab, statistics, targets, V, SMOOTHING);
      const { rowMax, rowSum } = statistics;
      const upstream = c.inputs.get('dloss')?.floats[0] ?? 1;
      // In place: the logits become their gradient.
      lab.recorder.launch(
        ceGrad,
        { logits, rowMax, rowSum, targets, rowScale: rowMax },
        { R, COLS: V, COL_START: 0, VOCAB: V, SMOOTHING, SCALE: upstream / count, HAS_ROW_SCALE: 0 },
      );
      const got = await lab.run({ row: rowLoss, lse, max: rowMax, dlogits: logits });
      return { loss: [total(got.row) / count], ...got };
    },
  },
  {
    format: 'torch',
    op: 'linear_cross_entropy',
    async run(lab, c) {
      const [h, W] = [c.input('h'), c.input('W')];
      const { R, C: D } = rowsAndColumns(h.shape);
      const [V] = W.shape;
      const { ids, count } = readTargets(c.input('target'), c.attributes.number('ignore_index', IGNORED));
      const targets = lab.data(ids);
      const weights = { w: lab.param(W.floats, W.shape) };
      const attributes = { vStart: 0, vocab: V };
      const { out: rowLoss, saved } = linearCrossEntropy.forward(
        lab.recorder,
        { x: lab.floats(h, [R, D]), targets },
        weights,
        attributes,
      );
      // The op keeps no lse; from its statistics it is one more launch, whose row losses nobody reads.
      const { rowMax, rowSum } = saved;
      const { lse } = recordRows(lab, { rowMax, rowSum, targetLogit: rowMax, logitSum: rowMax }, targets, V, 0);
      const upstream = lab.data(new Float32Array(R).fill((c.inputs.get('dloss')?.floats[0] ?? 1) / count));
      const { x: dh } = linearCrossEntropy.backwardInput!(lab.recorder, upstream, saved, weights, attributes, {
        x: true,
      });
      linearCrossEntropy.backwardWeight!(lab.recorder, upstream, saved, weights, attributes);
      const got = await lab.run({ rowLoss, lse, dh: dh!, dW: weights.w.grad });
      return { loss: [total(got.rowLoss) / count], row: got.rowLoss, ...got };
    },
  },
  onnxLoss(
    'SoftmaxCrossEntropyLoss',
    (lab, logits, targets) =>
      recordRows(lab, recordStatistics(lab, logits, targets), targets, logits.shape[1], 0).rowLoss,
  ),
  // The input is log-probabilities already; an ignored target is in no column and picks 0.
  onnxLoss('NegativeLogLikelihoodLoss', (lab, logits, targets) => {
    const { targetLogit } = recordStatistics(lab, logits, targets);
    const out = lab.recorder.tensor(targets.shape, 'f32', 'negated');
    lab.recorder.launch(
      add,
      { a: targetLogit, b: targetLogit, out },
      { N: elements(targets.shape), ALPHA: -1, BETA: 0 },
    );
    return out;
  }),
];
