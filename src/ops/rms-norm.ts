// y = w * x * rstd per row of x [R, C]; rstd = 1 / sqrt(mean(x^2) + eps). Saves rstd [R].

import type { Param, Tensor } from '../device/tensor.ts';
import { rmsNormBackwardWeight } from '../../shaders/norm/rms-norm-backward-weight.ts';
import { rmsNormBackward } from '../../shaders/norm/rms-norm-backward.ts';
import { rmsNorm as kernel } from '../../shaders/norm/rms-norm.ts';
import { defineOp } from './op.ts';

export const rmsNorm = defineOp<{ x: Tensor }, { w: Param }, { eps: number }, { x: Tensor; rstd: Tensor }>({
  name: 'rms-norm',
  adds: ['x'],
  forward(r, { x }, { w }, { eps }) {
    const [R, C] = x.shape;
    const out = r.tensor([R, C], 'f32', 'norm');
    const rstd = r.tensor([R], 'f32', 'rstd');
    r.launch(kernel, { x, weight: w, out, rstd }, { R, C, EPS: eps });
    return { out, saved: { x, rstd } };
  },
  backwardInput(r, dOut, { x, rstd }, { w }, _attrs, _needs, { x: residual } = {}) {
    const [R, C] = x.shape;
    const dX = r.tensor([R, C], 'f32', 'dx');
    r.launch(
      rmsNormBackward,
      { x, weight: w, rstd, dOut, residual: residual ?? dOut, dX },
      { R, C, RESIDUAL: residual ? 1 : 0 },
    );
    return { x: dX };
  },
  backwardWeight(r, dOut, { x, rstd }, { w }) {
    const [R, C] = x.shape;
    r.launch(rmsNormBackwardWeight, { x, rstd, dOut, dWeight: w.grad }, { R, C, ACCUMULATE: 1 });
  },
});
