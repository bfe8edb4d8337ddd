// out[r, :] = table[ids[r] - V_START, :] for ids [R] and table [V_ROWS, C], the rows V_START... of the whole table;
// zeros where the id is not among them, so that the sum over vocabulary shards is the whole lookup. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './embedding.wgsl?raw';

export const embedding = defineKernel({
  name: 'embedding',
  bindings: { ids: 'read u32', table: 'read', out: 'read_write' },
  params: {
    R: 'ids',
    C: 'columns',
    V_START: 'first row of the whole table that is held here',
    V_ROWS: 'rows held here',
  },
  dynamic: { R: 'u32', V_START: 'u32', V_ROWS: 'u32' },
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
  cost: ({ R, C }) => ({ flops: 0, bytes: 4 * (R + 2 * R * C) }),
  reference({ ids, table, out }, { R, C, V_START, V_ROWS }) {
    for (let r = 0; r < R; r++) {
      const entry = ids[r] - V_START;
      for (let c = 0; c < C; c++) out[r * C + c] = entry >= 0 && entry < V_ROWS ? table[entry * C + c] : 0;
    }
  },
  sizes: ({ R, C, V_ROWS }) => ({ ids: R, table: V_ROWS * C, out: R * C }),
  cases: [
    { R: 1, C: 1, V_START: 0, V_ROWS: 1 },
    { R: 65, C: 17, V_START: 0, V_ROWS: 63 },
    { R: 100, C: 64, V_START: 40, V_ROWS: 20 },
  ],
  testInput(name, { R, V_START, V_ROWS }, random) {
    if (name !== 'ids') return undefined;
    // A shard above the first also meets ids on both sides of its rows, the nearest ones among them.
    const around = V_START ? [V_START - 1, V_START + V_ROWS] : [];
    return Uint32Array.from(
      { length: R },
      (_, i) => around[i] ?? Math.floor(random() * (V_ROWS + (V_START ? 2 * V_START : 0))),
    );
  },
});
