// ONNX Sub of two tensors of one shape.

import { elements } from '../../../src/base/shape.ts';
import { slot } from '../../../src/cli/verify/operator.ts';
import type { Operator } from '../../../src/cli/verify/operator.ts';
import { add } from '../../../shaders/elementwise/add.ts';

export const operators: readonly Operator[] = [
  {
    format: 'onnx',
    op: 'Sub',
    refuses: (c) => (`${slot(c, 0).shape}` === `${slot(c, 1).shape}` ? undefined : 'broadcasting'),
    async run(lab, c) {
      const a = lab.floats(slot(c, 0));
      const out = lab.recorder.tensor(a.shape, 'f32', 'out');
      lab.recorder.launch(add, { a, b: lab.floats(slot(c, 1)), out }, { N: elements(a.shape), ALPHA: 1, BETA: -1 });
      return [(await lab.run({ out })).out];
    },
  },
];
