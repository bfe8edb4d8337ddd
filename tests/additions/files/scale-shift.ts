// out = SCALE x + SHIFT, element by element; both [N]. Memory bound: 8 bytes per element.

import { linearGrid } from '../../../src/device/grid.ts';
import { defineKernel } from '../../../src/device/kernel.ts';
import source from './scale-shift.wgsl?raw';

export const scaleShift = defineKernel({
  name: 'scaleShift',
  bindings: { x: 'read', out: 'read_write' },
  params: { N: 'elements', SCALE: 'factor', SHIFT: 'what is added' },
  dynamic: { N: 'u32' },
  variants: [{ name: 'scalar', source, tune: { WG: [64] }, grid: ({ N }, { WG }) => linearGrid(N, WG) }],
  cost: ({ N }) => ({ flops: 2 * N, bytes: 8 * N }),
  reference({ x, out }, { N, SCALE, SHIFT }) {
    for (let i = 0; i < N; i++) out[i] = SCALE * x[i] + SHIFT;
  },
  sizes: ({ N }) => ({ x: N, out: N }),
  cases: [
    { N: 1, SCALE: 1, SHIFT: 0 },
    { N: 1000, SCALE: -0.5, SHIFT: 3 },
  ],
});
