// y = (x - mean) * rstd * w + b per row of x [R, C], with the biased variance; rstd = 1 / sqrt(var + eps). Saves mean
// and rstd [R].

import type { Param, Tensor } from '../device/tensor.ts';
import { span } from '../device/tensor.ts';
import { layerNormBackwardWeight } from '../../shaders/norm/layer-norm-backward-weight.ts';
import { layerNormBackward } from '../../shaders/norm/layer-norm-backward.ts';
import { layerNorm as kernel } from '../../shaders/norm/layer-norm.ts';
import { addColumnSum } from './matmul.ts';
import { defineOp } from './op.ts';

export const layerNorm = defineOp<
  { x: Tensor },
  { w: Param; b: Param },
  { eps: number },
  { x: Tensor; mean: Tensor; rstd: Tensor }
>({
  name: 'layer-norm',
  adds: ['x'],
  forward(r, { x }, { w, b }, { eps }) {
    const [R, C] = x.shape;
    const out = r.tensor([R, C], 'f32', 'norm');
    const mean = r.tensor([R], 'f32', 'mean');
    const rstd = r.tensor([R], 'f32', 'rstd');
    r.launch(kernel, { x, weight: w, bias: b, out, mean, rstd }, { R, C, EPS: eps });
    return { out, saved: { x, mean, rstd } };
  },
  backwardInput(r, dOut, { x, mean, rstd }, { w }, _attrs, _needs, { x: residual } = {}) {
    const [R, C] = x.shape;
    const dX = r.tensor([R, C], 'f32', 'dx');
    r.launch(
      layerNormBackward,
      { x, weight: w, mean, rstd, dOut, residual: residual ?? dOut, dX },
      { R, C, RESIDUAL: residual ? 1 : 0 },
    );
    return { x: dX };
  },
  backwardWeight(r, dOut, { x, mean, rstd }, { w, b }) {
    const [R, C] = x.shape;
    // WebGPU forbids two writable bindings of one buffer, so one launch needs both gradients in one range.
    const both = span(w.grad, b.grad);
    r.launch(
      layerNormBackwardWeight,
      { x, mean, rstd, dOut, dWeight: both ?? w.grad },
      { R, C, ACCUMULATE: 1, BIAS_AT: both ? (b.grad.offset - w.grad.offset) / 4 : 0 },
    );
    if (!both) addColumnSum(r, dOut, b.grad);
  },
});
