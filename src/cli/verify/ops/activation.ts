// Elementwise functions: gelu in both forms, silu (ONNX Swish) and SwiGLU.

import { elements } from '../../../base/shape.ts';
import { putColumns, takeColumns } from '../../../ops/copy-columns.ts';
import { gelu } from '../../../ops/gelu.ts';
import { swiglu } from '../../../ops/swiglu.ts';
import type { Tensor } from '../../../device/tensor.ts';
import { siluBackward } from '../../../../shaders/elementwise/silu-backward.ts';
import { silu } from '../../../../shaders/elementwise/silu.ts';
import type { Lab } from '../lab.ts';
import { rowsAndColumns } from '../lab.ts';
import { slot } from '../operator.ts';
import type { CaseTensor, OnnxCase, Operator } from '../operator.ts';

const FORMS = ['tanh', 'none'];

function recordSilu(lab: Lab, x: Tensor): Tensor {
  const out = lab.recorder.tensor(x.shape, 'f32', 'silu');
  lab.recorder.launch(silu, { x, out }, { N: elements(x.shape) });
  return out;
}

/** gate | up side by side, as the op wants them. */
function glue(lab: Lab, gate: CaseTensor, up: CaseTensor): Tensor {
  const { R, C: F } = rowsAndColumns(gate.shape);
  const gateUp = lab.recorder.tensor([R, 2 * F], 'f32', 'gateUp');
  [gate, up].forEach((half, i) => putColumns(lab.recorder, lab.floats(half, [R, F]), gateUp, i * F));
  return gateUp;
}

const refuseAlpha = (c: OnnxCase): string | undefined => (c.attributes.number('alpha', 1) === 1 ? undefined : 'alpha');

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'gelu',
    refuses: (c) => (FORMS.includes(c.attributes.text('approximate', 'none')) ? undefined : 'this approximation'),
    async run(lab, c) {
      const attributes = { tanh: c.attributes.text('approximate', 'none') === 'tanh' };
      const { out: y, saved } = gelu.forward(lab.recorder, { x: lab.floats(c.input('x')) }, {}, attributes);
      const { x: dx } = gelu.backwardInput!(lab.recorder, lab.floats(c.input('dy')), saved, {}, attributes, {
        x: true,
      });
      return lab.run({ y, dx: dx! });
    },
  },
  {
    format: 'torch',
    op: 'silu',
    async run(lab, c) {
      const x = lab.floats(c.input('x'));
      const dx = lab.recorder.tensor(x.shape, 'f32', 'dx');
      lab.recorder.launch(siluBackward, { x, dOut: lab.floats(c.input('dy')), dX: dx }, { N: elements(x.shape) });
      return lab.run({ y: recordSilu(lab, x), dx });
    },
  },
  {
    format: 'torch',
    op: 'swiglu',
    async run(lab, c) {
      const gateUp = glue(lab, c.input('a'), c.input('b'));
      const F = gateUp.shape[1] / 2;
      const { out: y, saved } = swiglu.forward(lab.recorder, { gateUp }, {}, null);
      const { gateUp: gradient } = swiglu.backwardInput!(
        lab.recorder,
        lab.floats(c.input('dy'), y.shape),
        saved,
        {},
        null,
        { gateUp: true },
      );
      const [da, db] = [0, F].map((from) => takeColumns(lab.recorder, gradient!, from, F, 'half'));
      return lab.run({ y, da, db });
    },
  },
  {
    format: 'onnx',
    op: 'Gelu',
    refuses: (c) => (FORMS.includes(c.attributes.text('approximate', 'none')) ? undefined : 'this approximation'),
    async run(lab, c) {
      const { out: y } = gelu.forward(
        lab.recorder,
        { x: lab.floats(slot(c, 0)) },
        {},
        { tanh: c.attributes.text('approximate', 'none') === 'tanh' },
      );
      return [(await lab.run({ y })).y];
    },
  },
  {
    format: 'onnx',
    op: 'Swish',
    refuses: refuseAlpha,
    run: async (lab, c) => [(await lab.run({ y: recordSilu(lab, lab.floats(slot(c, 0))) })).y],
  },
  {
    format: 'onnx',
    op: 'SwiGLU',
    refuses: refuseAlpha,
    run: async (lab, c) => [
      (await lab.run({ y: swiglu.forward(lab.recorder, { gateUp: glue(lab, slot(c, 0), slot(c, 1)) }, {}, null).out }))
        .y,
    ],
  },
];
