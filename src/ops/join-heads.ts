// Matrices [R, C_i] side by side, in the order of their keys: [R, sum of C_i].

import type { Tensor } from '../device/tensor.ts';
import { putColumns, takeColumns } from './copy-columns.ts';
import { defineOp } from './op.ts';

type Parts = Readonly<Record<string, Tensor>>;

export const joinHeads = defineOp<
  Parts,
  Record<string, never>,
  null,
  { readonly widths: Readonly<Record<string, number>> }
>({
  name: 'join-heads',
  forward(r, parts) {
    const widths = Object.fromEntries(Object.entries(parts).map(([name, { shape }]) => [name, shape[1]]));
    const [{ shape }] = Object.values(parts);
    const out = r.tensor([shape[0], Object.values(widths).reduce((a, b) => a + b, 0)], 'f32', 'joined');
    let at = 0;
    for (const part of Object.values(parts)) {
      putColumns(r, part, out, at);
      at += part.shape[1];
    }
    return { out, saved: { widths } };
  },
  backwardInput(r, dOut, { widths }, _w, _attrs, needs) {
    let at = 0;
    const gradients: Record<string, Tensor> = {};
    for (const [name, width] of Object.entries(widths)) {
      if (needs[name]) gradients[name] = takeColumns(r, dOut, at, width, `d.${name}`);
      at += width;
    }
    return gradients;
  },
});
