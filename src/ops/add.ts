// y = a + b, elementwise on tensors of one size. The gradient of both is dY.

import { ShapeError } from '../base/errors.ts';
import { elements, formatShape } from '../base/shape.ts';
import type { Tensor } from '../device/tensor.ts';
import { add as kernel } from '../../shaders/elementwise/add.ts';
import { defineOp } from './op.ts';

export const add = defineOp<{ a: Tensor; b: Tensor }, Record<string, never>, null, null>({
  name: 'add',
  forward(r, { a, b }) {
    if (elements(a.shape) !== elements(b.shape))
      throw new ShapeError(`add: ${formatShape(a.shape)} and ${formatShape(b.shape)} differ`);
    const out = r.tensor(a.shape, 'f32', 'sum');
    r.launch(kernel, { a, b, out }, { N: elements(a.shape), ALPHA: 1, BETA: 1 });
    return { out, saved: null };
  },
  backwardInput(_r, dOut) {
    return { a: dOut, b: dOut };
  },
});
