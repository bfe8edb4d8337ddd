// a + b (+ row), with `row` [C] added to every row of a, b [R, C]; a recording, not an op (its gradient passes through unchanged).

import { elements } from '../base/shape.ts';
import type { Recorder } from '../device/recorder.ts';
import type { Tensor } from '../device/tensor.ts';
import { addPosition } from '../../shaders/add-position.ts';
import { add } from '../../shaders/add.ts';

export function addRow(r: Recorder, a: Tensor, b: Tensor, row?: Tensor): Tensor {
  const out = r.tensor(a.shape, 'f32', 'sum');
  r.launch(add, { a, b, out }, { N: elements(a.shape), ALPHA: 1, BETA: 1 });
  if (!row) return out;
  const [R, C] = a.shape;
  const withRow = r.tensor([R, C], 'f32', 'sum');
  // A position table of one row is a broadcast row.
  r.launch(addPosition, { x: out, table: row, out: withRow }, { R, C, T: 1, POS_START: 0 });
  return withRow;
}
