// delta [B,HQ,TQ] = sum over d of out dOut, both [B,HQ,TQ,DV] laid out by O_*: the row sums that the attention backward
// kernels subtract. Memory bound: reads both once. Source: Dao 2023, arXiv 2307.08691, algorithm 2, line 4.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { divisibleBy4, extent } from './attention.ts';
import source from './attention-delta.wgsl?raw';

export const rowParams = {
  B: 'batch',
  HQ: 'query heads',
  TQ: 'queries',
  DV: 'entries of a value',
  O_OFF: 'first element of out',
  O_B: 'elements between batches of out',
  O_H: 'between heads',
  O_T: 'between positions',
} as const;

/** Contract cases of the kernels that take one output row per thread. */
export const rowCases = [
  { B: 1, HQ: 1, TQ: 1, DV: 1, O_OFF: 0, O_B: 1, O_H: 1, O_T: 1 },
  { B: 2, HQ: 3, TQ: 17, DV: 5, O_OFF: 3, O_B: 17 * 15, O_H: 5, O_T: 15 },
  { B: 2, HQ: 3, TQ: 33, DV: 16, O_OFF: 0, O_B: 33 * 48, O_H: 33 * 16, O_T: 16 },
];

export const attentionDelta = defineKernel({
  name: 'attentionDelta',
  bindings: { out: 'read', dOut: 'read', delta: 'read_write' },
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
  cost: ({ B, HQ, TQ, DV }) => ({ flops: 2 * B * HQ * TQ * DV, bytes: 4 * B * HQ * TQ * (2 * DV + 1) }),
  reference({ out, dOut, delta }, { B, HQ, TQ, DV, O_OFF, O_B, O_H, O_T }) {
    for (let b = 0; b < B; b++)
      for (let h = 0; h < HQ; h++)
        for (let t = 0; t < TQ; t++) {
          let sum = 0;
          for (let d = 0; d < DV; d++)
            sum += out[O_OFF + b * O_B + h * O_H + t * O_T + d] * dOut[O_OFF + b * O_B + h * O_H + t * O_T + d];
          delta[(b * HQ + h) * TQ + t] = sum;
        }
  },
  sizes(p) {
    const out = extent(p, 'O', p.HQ, p.TQ, p.DV);
    return { out, dOut: out, delta: p.B * p.HQ * p.TQ };
  },
  cases: rowCases,
});
