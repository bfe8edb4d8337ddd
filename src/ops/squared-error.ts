// Half the squared distance of each row of x [R, C] from y [R, C], as row losses [R]. y is data: it has no gradient.

import { ShapeError } from '../base/errors.ts';
import { formatShape, sameShape } from '../base/shape.ts';
import type { Tensor } from '../device/tensor.ts';
import { squaredErrorBackward } from '../../shaders/loss/squared-error-backward.ts';
import { squaredError as kernel } from '../../shaders/loss/squared-error.ts';
import { defineOp } from './op.ts';

type Rows = { x: Tensor; y: Tensor };

export const squaredError = defineOp<Rows, Record<string, never>, null, Rows>({
  name: 'squared-error',
  forward(r, { x, y }) {
    if (x.shape.length !== 2 || !sameShape(x.shape, y.shape))
      throw new ShapeError(
        `squared-error: expected two of [R, C], got ${formatShape(x.shape)} and ${formatShape(y.shape)}`,
      );
    const [R, C] = x.shape;
    const out = r.tensor([R], 'f32', 'row losses');
    r.launch(kernel, { x, y, out }, { R, C });
    return { out, saved: { x, y } };
  },
  backwardInput(r, dOut, { x, y }) {
    const [R, C] = x.shape;
    const dX = r.tensor(x.shape, 'f32', 'dx');
    r.launch(squaredErrorBackward, { x, y, dOut, dX }, { R, C });
    return { x: dX };
  },
});
