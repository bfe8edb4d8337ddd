// a (+ b) (+ row), with `row` [C] added to every row of a, b [R, C]; a recording, not an op (its gradient passes
// through unchanged).

import { elements } from '../base/shape.ts';
import type { Recorder } from '../device/recorder.ts';
import type { Tensor } from '../device/tensor.ts';
import { addPosition } from '../../shaders/embedding/add-position.ts';
import { add } from '../../shaders/elementwise/add.ts';

/** A new tensor; `a` itself where nothing is added. */
export function addRow(r: Recorder, a: Tensor, b?: Tensor, row?: Tensor): Tensor {
  if (!b && !row) return a;
  const out = r.tensor(a.shape, 'f32', 'sum');
  const [R, C] = a.shape;
  // A position table of one row is a broadcast row.
  if (row) {
    const params = { R, C, T: 1, POS_START: 0, RESIDUAL: b ? 1 : 0 };
    r.launch(addPosition, { x: a, table: row, residual: b ?? a, out }, params);
  } else r.launch(add, { a, b: b!, out }, { N: elements(a.shape), ALPHA: 1, BETA: 1 });
  return out;
}
