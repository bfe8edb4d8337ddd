// y = silu(gate) * up, where gateUp [R, 2F] holds gate in its first F columns and up in the others; y [R, F].

import type { Tensor } from '../device/tensor.ts';
import { swigluBackward } from '../../shaders/elementwise/swiglu-backward.ts';
import { swiglu as kernel } from '../../shaders/elementwise/swiglu.ts';
import { defineOp } from './op.ts';

export const swiglu = defineOp<{ gateUp: Tensor }, Record<string, never>, null, { gateUp: Tensor }>({
  name: 'swiglu',
  forward(r, { gateUp }) {
    const [R, F] = [gateUp.shape[0], gateUp.shape[1] / 2];
    const out = r.tensor([R, F], 'f32', 'swiglu');
    r.launch(kernel, { gateUp, out }, { R, F });
    return { out, saved: { gateUp } };
  },
  backwardInput(r, dOut, { gateUp }) {
    const [R, F] = [gateUp.shape[0], gateUp.shape[1] / 2];
    const dGateUp = r.tensor(gateUp.shape, 'f32', 'dgateUp');
    r.launch(swigluBackward, { gateUp, dOut, dGateUp }, { R, F });
    return { gateUp: dGateUp };
  },
});
