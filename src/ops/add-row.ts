// a + b (+ row), with `row` [C] added to every row of a, b [R, C]; a recording, not an op (its gradient passes through
// unchanged).

import { elements } from '../base/shape.ts';
import type { Recorder } from '../device/recorder.ts';
import type { Tensor } from '../device/tensor.ts';
import { addPosition } from '../../shaders/embedding/add-position.ts';
import { add } from '../../shaders/elementwise/add.ts';

export function addRow(r: Recorder, a: Tensor, b: Tensor, row?: Tensor): Tensor {
  const out = r.tensor(a.shape, 'f32', 'sum');
  const [R, C] = a.shape;
  // A position table of one row is a broadcast row.
  if (row) r.launch(addPosition, { x: a, table: row, residual: b, out }, { R, C, T: 1, POS_START: 0, RESIDUAL: 1 });
  else r.launch(add, { a, b, out }, { N: elements(a.shape), ALPHA: 1, BETA: 1 });
  return out;
}
