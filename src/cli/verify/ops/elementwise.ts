// ONNX operators that are a kernel by themselves: Add and Sum with broadcasting, Transpose.

import { elements } from '../../../base/shape.ts';
import type { Tensor } from '../../../device/tensor.ts';
import { add } from '../../../../shaders/elementwise/add.ts';
import type { Lab } from '../lab.ts';
import { slot } from '../operator.ts';
import type { CaseTensor, OnnxCase, OnnxOperator, Operator } from '../operator.ts';
import { broadcastShape, broadcastTo, permute } from '../rearrange.ts';

const refuseIntegers = (c: OnnxCase): string | undefined =>
  c.inputs.every((tensor) => tensor?.isFloat) ? undefined : 'integers';

function sumOf(lab: Lab, tensors: readonly CaseTensor[]): Tensor {
  const shape = tensors.map((tensor) => tensor.shape).reduce(broadcastShape);
  return tensors
    .map((tensor) => broadcastTo(lab, lab.floats(tensor), shape))
    .reduce((a, b) => {
      const out = lab.recorder.tensor(shape, 'f32', 'sum');
      lab.recorder.launch(add, { a, b, out }, { N: elements(shape), ALPHA: 1, BETA: 1 });
      return out;
    });
}

const sum = (op: string): OnnxOperator => ({
  format: 'onnx',
  op,
  // The sum of one tensor would test nothing of ours.
  refuses: (c) => (c.inputs.length < 2 ? 'one input' : refuseIntegers(c)),
  run: async (lab, c) => [
    (
      await lab.run({
        y: sumOf(
          lab,
          c.inputs.filter((tensor) => tensor !== undefined),
        ),
      })
    ).y,
  ],
});

export const operators: readonly Operator[] = [
  sum('Add'),
  sum('Sum'),
  {
    format: 'onnx',
    op: 'Transpose',
    refuses(c) {
      const order = c.attributes.numbers('perm');
      return order?.every((dim, i) => dim === i) ? 'a permutation that moves nothing' : refuseIntegers(c);
    },
    async run(lab, c) {
      const x = slot(c, 0);
      const reversed = x.shape.map((_, i) => x.shape.length - 1 - i);
      return [(await lab.run({ y: permute(lab, lab.floats(x), c.attributes.numbers('perm') ?? reversed) })).y];
    },
  },
];
