// y = x/2 (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3))) (`tanh`), or x/2 (1 + erf(x / sqrt 2)); elementwise, any shape.

import { elements } from '../base/shape.ts';
import type { Tensor } from '../device/tensor.ts';
import { geluBackward } from '../../shaders/elementwise/gelu-backward.ts';
import { gelu as kernel } from '../../shaders/elementwise/gelu.ts';
import { defineOp } from './op.ts';

export const gelu = defineOp<{ x: Tensor }, Record<string, never>, { tanh: boolean }, { x: Tensor }>({
  name: 'gelu',
  forward(r, { x }, _w, { tanh }) {
    const out = r.tensor(x.shape, 'f32', 'gelu');
    r.launch(kernel, { x, out }, { N: elements(x.shape), TANH: tanh ? 1 : 0 });
    return { out, saved: { x } };
  },
  backwardInput(r, dOut, { x }, _w, { tanh }) {
    const dX = r.tensor(x.shape, 'f32', 'dx');
    r.launch(geluBackward, { x, dOut, dX }, { N: elements(x.shape), TANH: tanh ? 1 : 0 });
    return { x: dX };
  },
});
