// out[r, :] = scale[r] * x[r, :]; x and out are [R, C]. Memory bound: 8 bytes per element.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './scale-rows.wgsl?raw';

export const scaleRows = defineKernel({
  name: 'scaleRows',
  bindings: { x: 'read', scale: 'read', out: 'read_write' },
  params: { R: 'rows', C: 'columns' },
  dynamic: { R: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ C }) => C % 4 === 0,
      grid: ({ R, C }, { WG }) => linearGrid((R * C) / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ R, C }, { WG }) => linearGrid(R * C, WG) },
  ],
  cost: ({ R, C }) => ({ flops: R * C, bytes: 4 * R * (2 * C + 1) }),
  reference({ x, scale, out }, { R, C }) {
    for (let r = 0; r < R; r++) for (let c = 0; c < C; c++) out[r * C + c] = scale[r] * x[r * C + c];
  },
  sizes: ({ R, C }) => ({ x: R * C, scale: R, out: R * C }),
  cases: [
    { R: 1, C: 1 },
    { R: 65, C: 17 },
    { R: 33, C: 64 },
  ],
});
