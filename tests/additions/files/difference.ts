// y = a - b, elementwise on tensors of one size. The gradient of a is dY, that of b is -dY.

import { ShapeError } from '../../../src/base/errors.ts';
import { elements, formatShape } from '../../../src/base/shape.ts';
import type { Tensor } from '../../../src/device/tensor.ts';
import { add as kernel } from '../../../shaders/elementwise/add.ts';
import { defineOp } from '../../../src/ops/op.ts';

export const difference = defineOp<{ a: Tensor; b: Tensor }, Record<string, never>, null, null>({
  name: 'difference',
  forward(r, { a, b }) {
    if (elements(a.shape) !== elements(b.shape))
      throw new ShapeError(`difference: ${formatShape(a.shape)} and ${formatShape(b.shape)} differ`);
    const out = r.tensor(a.shape, 'f32', 'difference');
    r.launch(kernel, { a, b, out }, { N: elements(a.shape), ALPHA: 1, BETA: -1 });
    return { out, saved: null };
  },
  backwardInput(r, dOut) {
    const dB = r.tensor(dOut.shape, 'f32', 'dB');
    r.launch(kernel, { a: dOut, b: dOut, out: dB }, { N: elements(dOut.shape), ALPHA: -1, BETA: 0 });
    return { a: dOut, b: dB };
  },
});
