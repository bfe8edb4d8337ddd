// out[r, :] = x[floor(source[r] / DIV), :], zeros where source[r] is 0xffffffff. x has C columns and as many rows as
// source names. With DIV = K it brings each token to its K assignments in expert order.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { NO_ROW, testRows } from './moe-permute.ts';
import source from './gather-rows.wgsl?raw';

export const gatherRows = defineKernel({
  name: 'gatherRows',
  bindings: { x: 'read', source: 'read u32', out: 'read_write' },
  params: { R: 'rows of out', C: 'columns', DIV: 'sources per row of x' },
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
  cost: ({ R, C }) => ({ flops: 0, bytes: 8 * R * C + 4 * R }),
  reference({ x, source, out }, { R, C, DIV }) {
    for (let r = 0; r < R; r++) {
      const row = Math.floor(source[r] / DIV);
      for (let c = 0; c < C; c++) out[r * C + c] = source[r] === NO_ROW ? 0 : x[row * C + c];
    }
  },
  sizes: ({ R, C, DIV }) => ({ x: Math.ceil(R / DIV) * C, source: R, out: R * C }),
  testInput: (name, { R }, random) => (name === 'source' ? testRows(R, R, random) : undefined),
  cases: [
    { R: 1, C: 1, DIV: 1 },
    { R: 65, C: 17, DIV: 2 },
    { R: 33, C: 64, DIV: 1 },
    { R: 40, C: 12, DIV: 3 },
  ],
});
