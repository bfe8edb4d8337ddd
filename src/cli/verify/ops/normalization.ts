// Layer norm and RMS norm: PyTorch over the last dimension with gradients, ONNX over all dimensions from `axis` on.

import { elements } from '../../../base/shape.ts';
import { layerNorm } from '../../../ops/layer-norm.ts';
import { rmsNorm } from '../../../ops/rms-norm.ts';
import type { Param, Tensor } from '../../../device/tensor.ts';
import { reshape } from '../../../device/tensor.ts';
import type { Lab } from '../lab.ts';
import { axisOf, slot } from '../operator.ts';
import type { CaseTensor, OnnxCase, Operator, TorchCase } from '../operator.ts';
import { broadcastTo } from '../rearrange.ts';

/** x as the rows that are normalised, with the weight (or `fill` where there is none). */
function torchInputs(lab: Lab, c: TorchCase) {
  const [given, w] = [c.input('x'), c.inputs.get('w')];
  const C = w ? elements(w.shape) : given.shape.at(-1)!;
  const R = elements(given.shape) / C;
  const weight = (name: string, fill: number): Param =>
    lab.param(c.inputs.get(name)?.floats ?? new Float32Array(C).fill(fill), [C], name);
  return {
    x: lab.floats(given, [R, C]),
    dy: lab.floats(c.input('dy'), [R, C]),
    weight,
    eps: c.attributes.number('eps'),
  };
}

function onnxInputs(lab: Lab, c: OnnxCase) {
  const given = slot(c, 0);
  const axis = axisOf(c.attributes.number('axis', -1), given.shape.length);
  const tail = given.shape.slice(axis);
  const C = elements(tail);
  const weight = (tensor: CaseTensor | undefined): Param => {
    const plain: Tensor = tensor ? reshape(broadcastTo(lab, lab.floats(tensor), tail), [C]) : lab.zeros([C]);
    return { ...plain, name: 'weight', grad: plain };
  };
  return { x: lab.floats(given, [elements(given.shape) / C, C]), weight, eps: c.attributes.number('epsilon', 1e-5) };
}

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'layernorm',
    async run(lab, c) {
      const { x, dy, weight, eps } = torchInputs(lab, c);
      const weights = { w: weight('w', 1), b: weight('b', 0) };
      const { out: y, saved } = layerNorm.forward(lab.recorder, { x }, weights, { eps });
      const { x: dx } = layerNorm.backwardInput!(lab.recorder, dy, saved, weights, { eps }, { x: true });
      layerNorm.backwardWeight!(lab.recorder, dy, saved, weights, { eps });
      return lab.run({ y, mean: saved.mean, rstd: saved.rstd, dx: dx!, dw: weights.w.grad, db: weights.b.grad });
    },
  },
  {
    format: 'torch',
    op: 'rmsnorm',
    async run(lab, c) {
      const { x, dy, weight, eps } = torchInputs(lab, c);
      const weights = { w: weight('w', 1) };
      const { out: y, saved } = rmsNorm.forward(lab.recorder, { x }, weights, { eps });
      const { x: dx } = rmsNorm.backwardInput!(lab.recorder, dy, saved, weights, { eps }, { x: true });
      rmsNorm.backwardWeight!(lab.recorder, dy, saved, weights, { eps });
      return lab.run({ y, rstd: saved.rstd, dx: dx!, dw: weights.w.grad });
    },
  },
  {
    format: 'onnx',
    op: 'LayerNormalization',
    async run(lab, c) {
      const { x, weight, eps } = onnxInputs(lab, c);
      const { out, saved } = layerNorm.forward(
        lab.recorder,
        { x },
        { w: weight(slot(c, 1)), b: weight(c.inputs[2]) },
        { eps },
      );
      const got = await lab.run({ out, mean: saved.mean, rstd: saved.rstd });
      return [got.out, got.mean, got.rstd];
    },
  },
  {
    format: 'onnx',
    op: 'RMSNormalization',
    async run(lab, c) {
      const { x, weight, eps } = onnxInputs(lab, c);
      const { out } = rmsNorm.forward(lab.recorder, { x }, { w: weight(slot(c, 1)) }, { eps });
      return [(await lab.run({ out })).out];
    },
  },
];
