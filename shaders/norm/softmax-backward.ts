// Gradient of softmax: dX = p (dOut - sum(dOut p)) over the middle dimension of [OUTER, C, INNER]; p is softmax's
// output (LOG 0). Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './softmax-backward.wgsl?raw';

export const softmaxBackward = defineKernel({
  name: 'softmaxBackward',
  bindings: { p: 'read', dOut: 'read', dX: 'read_write' },
  params: {
    OUTER: 'product of the dimensions before',
    C: 'extent of the softmax dimension',
    INNER: 'product of the dimensions after',
  },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [32] },
      supports: ({ INNER, C }) => INNER === 1 && C % 4 === 0,
      grid: ({ OUTER, INNER }, { WG }) => linearGrid(OUTER * INNER, WG),
    },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ OUTER, INNER }, { WG }) => linearGrid(OUTER * INNER, WG) },
  ],
  cost: ({ OUTER, C, INNER }) => ({ flops: 4 * OUTER * C * INNER, bytes: 12 * OUTER * C * INNER }),
  reference({ p, dOut, dX }, { OUTER, C, INNER }) {
    for (let line = 0; line < OUTER * INNER; line++) {
      const at = (c: number): number => (Math.floor(line / INNER) * C + c) * INNER + (line % INNER);
      let sum = 0;
      for (let c = 0; c < C; c++) sum += dOut[at(c)] * p[at(c)];
      for (let c = 0; c < C; c++) dX[at(c)] = p[at(c)] * (dOut[at(c)] - sum);
    }
  },
  sizes: ({ OUTER, C, INNER }) => ({ p: OUTER * C * INNER, dOut: OUTER * C * INNER, dX: OUTER * C * INNER }),
  cases: [
    { OUTER: 1, C: 1, INNER: 1 },
    { OUTER: 8, C: 33, INNER: 1 },
    { OUTER: 3, C: 1000, INNER: 1 },
    { OUTER: 5, C: 17, INNER: 7 },
    { OUTER: 2, C: 6, INNER: 5 },
    { OUTER: 70, C: 64, INNER: 1 },
  ],
  testInput: (name, { OUTER, C, INNER }, random) =>
    name === 'p' ? Float32Array.from({ length: OUTER * C * INNER }, () => (2 * random()) / C) : undefined,
});
