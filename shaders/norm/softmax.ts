// Softmax, or its logarithm (LOG 1), over the middle dimension of x [OUTER, C, INNER]: out = exp(x - max) / sum exp(x -
// max). Logits of any finite size are safe. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './softmax.wgsl?raw';

export const softmax = defineKernel({
  name: 'softmax',
  bindings: { x: 'read', out: 'read_write' },
  params: {
    OUTER: 'product of the dimensions before',
    C: 'extent of the softmax dimension',
    INNER: 'product of the dimensions after',
    LOG: '1 writes log softmax',
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
  cost: ({ OUTER, C, INNER }) => ({ flops: 5 * OUTER * C * INNER, bytes: 8 * OUTER * C * INNER }),
  reference({ x, out }, { OUTER, C, INNER, LOG }) {
    for (let line = 0; line < OUTER * INNER; line++) {
      const at = (c: number): number => (Math.floor(line / INNER) * C + c) * INNER + (line % INNER);
      let peak = -Infinity;
      for (let c = 0; c < C; c++) peak = Math.max(peak, x[at(c)]);
      let sum = 0;
      for (let c = 0; c < C; c++) sum += Math.exp(x[at(c)] - peak);
      for (let c = 0; c < C; c++) out[at(c)] = LOG ? x[at(c)] - peak - Math.log(sum) : Math.exp(x[at(c)] - peak) / sum;
    }
  },
  sizes: ({ OUTER, C, INNER }) => ({ x: OUTER * C * INNER, out: OUTER * C * INNER }),
  cases: [
    { OUTER: 1, C: 1, INNER: 1, LOG: 0 },
    { OUTER: 8, C: 33, INNER: 1, LOG: 0 },
    { OUTER: 3, C: 1000, INNER: 1, LOG: 1 },
    { OUTER: 5, C: 17, INNER: 7, LOG: 0 },
    { OUTER: 2, C: 6, INNER: 5, LOG: 1 },
    { OUTER: 70, C: 64, INNER: 1, LOG: 0 },
  ],
  testInput(name, { OUTER, C, INNER, LOG }, random) {
    if (name !== 'x') return undefined;
    // Every second row of a softmax has logits of +-1500.
    return Float32Array.from(
      { length: OUTER * C * INNER },
      (_, i) => (LOG === 0 && Math.floor(i / (C * INNER)) % 2 ? 3000 : 20) * (random() - 0.5),
    );
  },
});
