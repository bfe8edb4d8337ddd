// Broadcasting and permuting on the device, made of the kernels that copy rows (embedding) and swap dimensions
// (transpose).

import { ShapeError } from '../../base/errors.ts';
import { elements, formatShape, sameShape } from '../../base/shape.ts';
import type { Shape } from '../../base/shape.ts';
import type { Tensor } from '../../device/tensor.ts';
import { reshape } from '../../device/tensor.ts';
import { embedding } from '../../../shaders/embedding/embedding.ts';
import { transpose } from '../../../shaders/layout/transpose.ts';
import type { Lab } from './lab.ts';

/** The shape that both broadcast to, aligned at the last dimension. */
export function broadcastShape(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [x, y] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(`broadcast: ${formatShape(a)} and ${formatShape(b)} do not fit`);
    return x === 1 ? y : x;
  });
}

/** Rows ids[0], ids[1], ... of x seen as [rows, C]. */
export function takeRows(lab: Lab, x: Tensor, C: number, ids: Uint32Array<ArrayBuffer>): Tensor {
  const out = lab.recorder.tensor([ids.length, C], 'f32', 'rows');
  lab.recorder.launch(
    embedding,
    { ids: lab.data(ids), table: x, out },
    { R: ids.length, C, V_START: 0, V_ROWS: elements(x.shape) / C },
  );
  return out;
}

/** x repeated to `shape`. */
export function broadcastTo(lab: Lab, x: Tensor, shape: Shape): Tensor {
  const from = [...Array<number>(shape.length - x.shape.length).fill(1), ...x.shape];
  if (sameShape(from, shape)) return reshape(x, shape);
  // The trailing dimensions that agree are copied as rows.
  let whole = shape.length;
  while (whole > 0 && from[whole - 1] === shape[whole - 1]) whole--;
  const [outer, source] = [shape.slice(0, whole), from.slice(0, whole)];
  const ids = Uint32Array.from({ length: elements(outer) }, (_, row) => {
    let [rest, stride, id] = [row, 1, 0];
    for (let d = whole - 1; d >= 0; d--) {
      const at = rest % outer[d];
      rest = Math.floor(rest / outer[d]);
      if (source[d] !== 1) id += at * stride;
      stride *= source[d];
    }
    return id;
  });
  return reshape(takeRows(lab, x, elements(shape.slice(whole)), ids), shape);
}

/** x with its dimensions in the order `order`; one launch per dimension that moves. */
export function permute(lab: Lab, x: Tensor, order: readonly number[]): Tensor {
  let result = x;
  const dims = x.shape.map((_, i) => i);
  order.forEach((dim, to) => {
    const from = dims.indexOf(dim);
    if (from === to) return;
    const { shape } = result;
    // The dimensions to..from-1 swap places with dimension `from`.
    const [OUTER, ROWS, COLS, INNER] = [
      shape.slice(0, to),
      shape.slice(to, from),
      [shape[from]],
      shape.slice(from + 1),
    ].map(elements);
    const out = lab.recorder.tensor(
      [...shape.slice(0, to), shape[from], ...shape.slice(to, from), ...shape.slice(from + 1)],
      'f32',
      'permuted',
    );
    lab.recorder.launch(transpose, { x: result, out }, { OUTER, ROWS, COLS, INNER });
    dims.splice(to, 0, ...dims.splice(from, 1));
    result = out;
  });
  return result;
}
