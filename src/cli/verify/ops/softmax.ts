// Softmax over one axis (PyTorch with its gradient) and ONNX LogSoftmax.

import { elements } from '../../../base/shape.ts';
import type { Shape } from '../../../base/shape.ts';
import type { Tensor } from '../../../device/tensor.ts';
import { softmaxBackward } from '../../../../shaders/norm/softmax-backward.ts';
import { softmax } from '../../../../shaders/norm/softmax.ts';
import type { Lab } from '../lab.ts';
import { axisOf, slot } from '../operator.ts';
import type { OnnxOperator, Operator } from '../operator.ts';

function around(shape: Shape, given: number): { OUTER: number; C: number; INNER: number } {
  const axis = axisOf(given, shape.length);
  return { OUTER: elements(shape.slice(0, axis)), C: shape[axis], INNER: elements(shape.slice(axis + 1)) };
}

export function recordSoftmax(lab: Lab, x: Tensor, axis: number, LOG: 0 | 1): Tensor {
  const out = lab.recorder.tensor(x.shape, 'f32', 'softmax');
  lab.recorder.launch(softmax, { x, out }, { ...around(x.shape, axis), LOG });
  return out;
}

const onnx = (op: string, log: 0 | 1): OnnxOperator => ({
  format: 'onnx',
  op,
  // Before opset 13 the operator flattened everything from the axis on.
  refuses: (c) => (c.opset < 13 ? 'the form before opset 13' : undefined),
  run: async (lab, c) => [
    (await lab.run({ y: recordSoftmax(lab, lab.floats(slot(c, 0)), c.attributes.number('axis', -1), log) })).y,
  ],
});

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'softmax',
    async run(lab, c) {
      const axis = c.attributes.number('axis', -1);
      const x = lab.floats(c.input('x'));
      const p = recordSoftmax(lab, x, axis, 0);
      const dx = lab.recorder.tensor(x.shape, 'f32', 'dx');
      lab.recorder.launch(softmaxBackward, { p, dOut: lab.floats(c.input('dp')), dX: dx }, around(x.shape, axis));
      return lab.run({ p, dx });
    },
  },
  onnx('Softmax', 0),
  onnx('LogSoftmax', 1),
];
