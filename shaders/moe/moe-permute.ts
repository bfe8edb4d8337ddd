// Stable counting sort of the A = tokens * K assignments by expert: offsets[E + 1] are the first rows of the experts,
// slotOf[a] is the row of assignment a, source[row] the assignment of a row. An index >= E means no expert: its slotOf,
// and the sources of the rows from offsets[E] on, are 0xffffffff. Deterministic, with A reads per expert.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './moe-permute.wgsl?raw';

/** What slotOf and source hold where there is nothing. */
export const NO_ROW = 0xffffffff;

/** Test data: rising offsets of `E` experts with empty ones among them, some rows left over where R allows. */
export function testOffsets(R: number, E: number, random: () => number): Uint32Array<ArrayBuffer> {
  const used = R - Math.floor((random() * R) / 4);
  const cuts = Array.from({ length: E - 1 }, () => Math.floor(random() * (used + 1)));
  // Every third expert is empty.
  for (let e = 1; e < cuts.length; e += 3) cuts[e] = cuts[e - 1];
  return Uint32Array.from([0, ...cuts.sort((x, y) => x - y), used]);
}

/** Test data: a row for each of `A` assignments out of order, some without a row. */
export function testRows(A: number, rows: number, random: () => number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: A }, (_, a) => (a % 7 === 5 ? NO_ROW : Math.floor(random() * rows)));
}

export const moePermute = defineKernel({
  name: 'moePermute',
  bindings: { index: 'read u32', offsets: 'read_write u32', slotOf: 'read_write u32', source: 'read_write u32' },
  params: { A: 'assignments (tokens times experts per token)', E: 'experts' },
  variants: [{ name: 'thread-per-expert', source, tune: { WG: [16] }, grid: ({ E }, { WG }) => linearGrid(E + 1, WG) }],
  cost: ({ A, E }) => ({ flops: 0, bytes: 4 * (3 * A + E + 1) }),
  reference({ index, offsets, slotOf, source }, { A, E }) {
    const order = Array.from({ length: A }, (_, a) => a)
      .filter((a) => index[a] < E)
      .sort((x, y) => index[x] - index[y] || x - y);
    for (let e = 0; e <= E; e++) offsets[e] = order.filter((a) => index[a] < e).length;
    for (let a = 0; a < A; a++) slotOf[a] = source[a] = NO_ROW;
    order.forEach((a, row) => {
      slotOf[a] = row;
      source[row] = a;
    });
  },
  sizes: ({ A, E }) => ({ index: A, offsets: E + 1, slotOf: A, source: A }),
  testInput(name, { A, E }, random) {
    if (name !== 'index') return undefined;
    // Expert 1 gets nothing; every eleventh assignment has no expert.
    return Uint32Array.from({ length: A }, (_, a) => (a % 11 === 10 ? E + a : Math.floor(random() * E))).map((e) =>
      e === 1 ? 0 : e,
    );
  },
  cases: [
    { A: 1, E: 1 },
    { A: 63, E: 5 },
    { A: 8, E: 32 },
    { A: 1000, E: 8 },
  ],
});
