// Some heads of a packed projection qkv [R, (H + 2 Hkv) D] (columns Q | K | V, heads in order) as one of their own:
// query heads from..from+count-1 and the key and value heads that they read, [R, (count + 2 count Hkv/H) D].

import type { Recorder } from '../device/recorder.ts';
import type { Tensor } from '../device/tensor.ts';
import { fill } from '../../shaders/elementwise/fill.ts';
import { copyColumns } from '../../shaders/layout/copy-columns.ts';
import { defineOp } from './op.ts';

export interface TakeHeadsAttributes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** First query head; it and `count` are multiples of heads / kvHeads. */
  readonly from: number;
  readonly count: number;
}

export const takeHeads = defineOp<{ qkv: Tensor }, Record<string, never>, TakeHeadsAttributes, { R: number }>({
  name: 'take-heads',
  forward(r, { qkv }, _w, attrs) {
    const [R] = qkv.shape;
    const { whole, part, runs } = columnsOf(attrs);
    const out = r.tensor([R, part], 'f32', 'heads');
    for (const { at, to, cols } of runs) copy(r, R, cols, qkv, whole, at, out, part, to);
    return { out, saved: { R } };
  },
  backwardInput(r, dOut, { R }, _w, attrs) {
    const { whole, part, runs } = columnsOf(attrs);
    const dQkv = r.tensor([R, whole], 'f32', 'dheads');
    r.launch(fill, { out: dQkv }, { N: R * whole, VALUE: 0 });
    for (const { at, to, cols } of runs) copy(r, R, cols, dOut, part, to, dQkv, whole, at);
    return { qkv: dQkv };
  },
});

/** Widths of both projections, and where Q, K and V of the heads stand in each. */
function columnsOf({ heads, kvHeads, headDim: D, from, count }: TakeHeadsAttributes) {
  const sharing = heads / kvHeads;
  const [kvFrom, kvCount] = [from / sharing, count / sharing];
  return {
    whole: (heads + 2 * kvHeads) * D,
    part: (count + 2 * kvCount) * D,
    runs: [
      { at: from * D, to: 0, cols: count * D },
      { at: (heads + kvFrom) * D, to: count * D, cols: kvCount * D },
      { at: (heads + kvHeads + kvFrom) * D, to: (count + kvCount) * D, cols: kvCount * D },
    ],
  };
}

function copy(
  r: Recorder,
  R: number,
  cols: number,
  x: Tensor,
  xWidth: number,
  xCol: number,
  out: Tensor,
  outWidth: number,
  outCol: number,
): void {
  r.launch(
    copyColumns,
    { x, out },
    { R, COLS: cols, X_WIDTH: xWidth, X_COL: xCol, OUT_WIDTH: outWidth, OUT_COL: outCol },
  );
}
