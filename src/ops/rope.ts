// Rotary positions on packed heads: x [R, heads * headDim], row r at position r mod T of the tables cos, sin [T,
// rotaryDim/2]. The first `rotaryHeads` heads turn, the others (values) are copied. B turns back. Tables come from the
// host in f64: WGSL sin and cos may err by 2^-11.

import type { Tensor } from '../device/tensor.ts';
import type { Recorder } from '../device/recorder.ts';
import { rope as kernel } from '../../shaders/attention/rope.ts';
import { defineOp } from './op.ts';

export interface RopeAttributes {
  readonly T: number;
  readonly heads: number;
  readonly rotaryHeads: number;
  readonly headDim: number;
  readonly rotaryDim: number;
  /** Pairs (2i, 2i+1) instead of (i, i + rotaryDim/2). */
  readonly interleaved: boolean;
}

export const rope = defineOp<
  { x: Tensor; cos: Tensor; sin: Tensor },
  Record<string, never>,
  RopeAttributes,
  { cos: Tensor; sin: Tensor }
>({
  name: 'rope',
  forward(r, { x, cos, sin }, _w, attrs) {
    return { out: turn(r, x, cos, sin, attrs, 0), saved: { cos, sin } };
  },
  backwardInput(r, dOut, { cos, sin }, _w, attrs) {
    return { x: turn(r, dOut, cos, sin, attrs, 1) };
  },
});

function turn(r: Recorder, x: Tensor, cos: Tensor, sin: Tensor, attrs: RopeAttributes, inverse: 0 | 1): Tensor {
  const out = r.tensor(x.shape, 'f32', inverse ? 'dx' : 'roped');
  r.launch(
    kernel,
    { x, cos, sin, out },
    {
      R: x.shape[0],
      T: attrs.T,
      HEADS: attrs.heads,
      ROTARY_HEADS: attrs.rotaryHeads,
      HD: attrs.headDim,
      ROTARY_DIM: attrs.rotaryDim,
      INTERLEAVED: attrs.interleaved ? 1 : 0,
      INVERSE: inverse,
    },
  );
  return out;
}

/** cos and sin [positions, rotaryDim/2] of position * theta^(-2i/rotaryDim). */
export function rotaryTables(
  positions: ArrayLike<number>,
  rotaryDim: number,
  theta: number,
): { cos: Float32Array<ArrayBuffer>; sin: Float32Array<ArrayBuffer> } {
  const half = rotaryDim / 2;
  const T = positions.length;
  const cos = new Float32Array(T * half);
  const sin = new Float32Array(T * half);
  for (let t = 0; t < T; t++) {
    for (let i = 0; i < half; i++) {
      const angle = positions[t] * theta ** ((-2 * i) / rotaryDim);
      cos[t * half + i] = Math.cos(angle);
      sin[t * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
