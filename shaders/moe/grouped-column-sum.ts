// out[e, C] (+)= sum of the rows offsets[e] .. offsets[e + 1] - 1 of x [R, C]: the gradient of the experts' biases.
// Experts may be empty; rows from offsets[E] on belong to nobody.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { testOffsets } from './moe-permute.ts';
import source from './grouped-column-sum.wgsl?raw';

export const groupedColumnSum = defineKernel({
  name: 'groupedColumnSum',
  bindings: { x: 'read', offsets: 'read u32', out: 'read_write' },
  params: { R: 'rows', C: 'columns', E: 'experts', ACCUMULATE: '1 adds to out' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [16] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ C, E }, { WG }) => linearGrid((E * C) / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ C, E }, { WG }) => linearGrid(E * C, WG) },
  ],
  cost: ({ R, C, E, ACCUMULATE }) => ({ flops: R * C, bytes: 4 * C * (R + E * (1 + ACCUMULATE)) }),
  reference({ x, offsets, out }, { C, E, ACCUMULATE }) {
    for (let e = 0; e < E; e++) {
      for (let c = 0; c < C; c++) {
        let sum = ACCUMULATE ? out[e * C + c] : 0;
        for (let r = offsets[e]; r < offsets[e + 1]; r++) sum += x[r * C + c];
        out[e * C + c] = sum;
      }
    }
  },
  sizes: ({ R, C, E }) => ({ x: R * C, offsets: E + 1, out: E * C }),
  testInput: (name, { R, E }, random) => (name === 'offsets' ? testOffsets(R, E, random) : undefined),
  cases: [
    { R: 1, C: 1, E: 1, ACCUMULATE: 0 },
    { R: 65, C: 63, E: 5, ACCUMULATE: 1 },
    { R: 9, C: 12, E: 8, ACCUMULATE: 0 },
    { R: 300, C: 36, E: 3, ACCUMULATE: 1 },
  ],
});
