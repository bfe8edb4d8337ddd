// Gradient of embedding by its table [V_ROWS, C], the rows V_START... of the whole: dTable[id - V_START, :] += sum of
// dOut[r, :] over ids[r] = id. Always adds. `next` is embeddingLinks' output; ids that are not held here are passed
// over. The order of addition is fixed. Memory bound.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { embeddingLinks } from './embedding-links.ts';
import source from './embedding-backward.wgsl?raw';

/** Ids that depend on the params alone, because `ids` and `next` must agree: some repeat, some are not held here. */
function testIds(R: number, V_START: number, V_ROWS: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: R }, (_, i) => Math.max(0, V_START - 1) + ((i * i + 2 * i) % (V_ROWS + 2)));
}

export const embeddingBackward = defineKernel({
  name: 'embeddingBackward',
  bindings: { ids: 'read u32', next: 'read u32', dOut: 'read', dTable: 'read_write' },
  params: {
    R: 'ids',
    C: 'columns',
    V_START: 'first row of the whole table that is held here',
    V_ROWS: 'rows held here',
  },
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
  cost: ({ R, C }) => ({ flops: R * C, bytes: 4 * (2 * R + 3 * R * C) }),
  reference({ ids, dOut, dTable }, { R, C, V_START, V_ROWS }) {
    const sums = Float64Array.from(dTable);
    for (let r = 0; r < R; r++) {
      const entry = ids[r] - V_START;
      if (entry < 0 || entry >= V_ROWS) continue;
      for (let c = 0; c < C; c++) sums[entry * C + c] += dOut[r * C + c];
    }
    dTable.set(sums);
  },
  sizes: ({ R, C, V_ROWS }) => ({ ids: R, next: R, dOut: R * C, dTable: V_ROWS * C }),
  cases: [
    { R: 1, C: 1, V_START: 0, V_ROWS: 1 },
    { R: 65, C: 17, V_START: 0, V_ROWS: 13 },
    { R: 100, C: 64, V_START: 5, V_ROWS: 20 },
  ],
  testInput(name, { R, V_START, V_ROWS }) {
    if (name !== 'ids' && name !== 'next') return undefined;
    const ids = testIds(R, V_START, V_ROWS);
    if (name === 'ids') return ids;
    const next = new Uint32Array(R);
    embeddingLinks.reference({ ids, next }, { R });
    return next;
  },
});
