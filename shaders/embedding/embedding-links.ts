// Links the positions of equal ids [R]: the low 31 bits of next[i] are the next j > i with ids[j] = ids[i] (0x7fffffff:
// none), the top bit says that i is the first. embeddingBackward walks these lists. At most R^2 reads; a search ends at
// the first equal id.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import vec4Source from './embedding-links-vec4.wgsl?raw';
import source from './embedding-links.wgsl?raw';

export const embeddingLinks = defineKernel({
  name: 'embeddingLinks',
  bindings: { ids: 'read u32', next: 'read_write u32' },
  params: { R: 'ids' },
  dynamic: { R: 'u32' },
  variants: [
    {
      name: 'vec4',
      source: vec4Source,
      tune: { WG: [32] },
      supports: ({ R }) => R % 4 === 0,
      grid: ({ R }, { WG }) => linearGrid(R, WG),
    },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ R }, { WG }) => linearGrid(R, WG) },
  ],
  cost: ({ R }) => ({ flops: 0, bytes: 8 * R }),
  reference({ ids, next }, { R }) {
    const last = new Map<number, number>();
    for (let i = 0; i < R; i++) {
      const previous = last.get(ids[i]);
      if (previous !== undefined) next[previous] = ((next[previous] & 0x80000000) | i) >>> 0;
      next[i] = previous === undefined ? 0xffffffff : 0x7fffffff;
      last.set(ids[i], i);
    }
  },
  sizes: ({ R }) => ({ ids: R, next: R }),
  cases: [{ R: 1 }, { R: 7 }, { R: 300 }],
  // Squares: far apart, so that some meet in a hash table.
  testInput: (name, { R }, random) =>
    name === 'ids' ? Uint32Array.from({ length: R }, () => Math.floor((random() * R) / 3) ** 2) : undefined,
});
