// Rows by index: PyTorch's token plus position embedding with scatter-add gradients, ONNX Gather along any axis.

import { elements } from '../../../base/shape.ts';
import { embedding } from '../../../ops/embedding.ts';
import { positionEmbedding } from '../../../ops/position-embedding.ts';
import { Tape } from '../../../ops/tape.ts';
import { axisOf, slot } from '../operator.ts';
import type { Operator } from '../operator.ts';
import { takeRows } from '../rearrange.ts';

export const operators: readonly Operator[] = [
  {
    format: 'torch',
    op: 'embedding',
    async run(lab, c) {
      const [W, P, ids] = [c.input('W'), c.inputs.get('P'), c.input('ids')];
      const R = elements(ids.shape);
      const tape = new Tape(lab.recorder);
      const table = lab.param(W.floats, W.shape);
      const positions = P && lab.param(P.floats, P.shape);
      let y = tape.apply(embedding, { ids: lab.indices(ids, [R]) }, { table }, { vStart: 0 });
      if (positions)
        y = tape.apply(positionEmbedding, { x: y }, { table: positions }, { T: ids.shape.at(-1)!, posStart: 0 });
      tape.backward([[y, lab.floats(c.input('dy'), y.shape)]], [], lab.recorder, lab.recorder);
      return lab.run({ y, dW: table.grad, dP: positions?.grad });
    },
  },
  {
    format: 'onnx',
    op: 'Gather',
    refuses: (c) => (slot(c, 0).isFloat ? undefined : 'integers'),
    async run(lab, c) {
      const { shape } = slot(c, 0);
      const axis = axisOf(c.attributes.number('axis', 0), shape.length);
      const wanted = slot(c, 1).integers.map((id) => axisOf(id, shape[axis]));
      const ids = Uint32Array.from(
        { length: elements(shape.slice(0, axis)) * wanted.length },
        (_, i) => Math.floor(i / wanted.length) * shape[axis] + wanted[i % wanted.length],
      );
      return [(await lab.run({ y: takeRows(lab, lab.floats(slot(c, 0)), elements(shape.slice(axis + 1)), ids) })).y];
    },
  },
];
