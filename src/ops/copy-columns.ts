// Recordings that take columns out of a row-major matrix, or put them into one.

import type { Recorder } from '../device/recorder.ts';
import type { Tensor } from '../device/tensor.ts';
import { copyColumns as kernel } from '../../shaders/layout/copy-columns.ts';

/** Columns [from, from + cols) of x [R, width] as a new tensor [R, cols]. */
export function takeColumns(r: Recorder, x: Tensor, from: number, cols: number, label: string): Tensor {
  const [R, width] = x.shape;
  const out = r.tensor([R, cols], 'f32', label);
  r.launch(kernel, { x, out }, { R, COLS: cols, X_WIDTH: width, X_COL: from, OUT_WIDTH: cols, OUT_COL: 0 });
  return out;
}

/** Writes all columns of x [R, cols] into `into` [R, width] from column `at`. */
export function putColumns(r: Recorder, x: Tensor, into: Tensor, at: number): void {
  const [R, cols] = x.shape;
  r.launch(kernel, { x, out: into }, { R, COLS: cols, X_WIDTH: cols, X_COL: 0, OUT_WIDTH: into.shape[1], OUT_COL: at });
}
