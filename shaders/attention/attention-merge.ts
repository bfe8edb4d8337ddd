// Merges attention over one set of keys (partOut, partLse) into attention over another (out, lse), in place: the result
// is attention over both. out [B,HQ,TQ,DV] and partOut laid out by O_*, lse and partLse [B,HQ,TQ]. A side with lse
// -1e30 saw no key and is ignored, also if its out is undefined; NaN is not. No exponent is positive. Used by ring
// attention, split keys and token rings. Source: Milakov and Gimelshein 2018, arXiv 1805.02867.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { divisibleBy4, extent, NO_KEY } from './attention.ts';
import { rowCases, rowParams } from './attention-delta.ts';
import source from './attention-merge.wgsl?raw';

export const attentionMerge = defineKernel({
  name: 'attentionMerge',
  bindings: { out: 'read_write', lse: 'read_write', partOut: 'read', partLse: 'read' },
  params: rowParams,
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [32] },
      supports: divisibleBy4,
      grid: ({ B, HQ, TQ }, { WG }) => linearGrid(B * HQ * TQ, WG),
    },
    { name: 'scalar', source, tune: { WG: [32] }, grid: ({ B, HQ, TQ }, { WG }) => linearGrid(B * HQ * TQ, WG) },
  ],
  cost: ({ B, HQ, TQ, DV }) => ({ flops: 3 * B * HQ * TQ * DV, bytes: 4 * B * HQ * TQ * (3 * DV + 3) }),
  reference({ out, lse, partOut, partLse }, { B, HQ, TQ, DV, O_OFF, O_B, O_H, O_T }) {
    for (let b = 0; b < B; b++)
      for (let h = 0; h < HQ; h++)
        for (let t = 0; t < TQ; t++) {
          const row = (b * HQ + h) * TQ + t;
          const sides = [
            { lse: lse[row], out },
            { lse: partLse[row], out: partOut },
          ].filter((side) => !(side.lse <= NO_KEY / 10));
          const top = Math.max(...sides.map((side) => side.lse));
          const sum = sides.reduce((total, side) => total + Math.exp(side.lse - top), 0);
          for (let d = 0; d < DV; d++) {
            const at = O_OFF + b * O_B + h * O_H + t * O_T + d;
            out[at] = sides.reduce((total, side) => total + (Math.exp(side.lse - top) / sum) * side.out[at], 0);
          }
          lse[row] = sides.length ? top + Math.log(sum) : NO_KEY;
        }
  },
  sizes(p) {
    const out = extent(p, 'O', p.HQ, p.TQ, p.DV);
    return { out, lse: p.B * p.HQ * p.TQ, partOut: out, partLse: p.B * p.HQ * p.TQ };
  },
  cases: rowCases,
  testInput(name, { B, HQ, TQ }, random) {
    if (name !== 'lse' && name !== 'partLse') return undefined;
    // Rows where one side or both saw nothing, rows where one side wins by thousands, and ordinary rows.
    const period = name === 'lse' ? 3 : 5;
    return Float32Array.from({ length: B * HQ * TQ }, (_, i) =>
      i % period === 2 ? NO_KEY : i % 7 === 1 ? 2e4 * random() - 1e4 : 4 * random() - 2,
    );
  },
});
