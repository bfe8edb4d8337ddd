// Gradient of the queries under the mask of attention-intervals.ts; otherwise as attention-backward-query.ts.
// Source: Dao 2023, arXiv 2307.08691, algorithm 2.

import { defineKernel } from '../../src/device/kernel.ts';
import { inputSizes, wasmRefuses } from './attention.ts';
import { queryGradient, testLse } from './attention-backward-query.ts';
import {
  allPairs,
  hidesBy,
  intervalCases,
  intervalCount,
  intervalParams,
  intervalVariants,
  testIntervals,
  unmasked,
} from './attention-intervals.ts';
import type { IntervalParams } from './attention-intervals.ts';
import source from './attention-intervals-backward-query.wgsl?raw';

type Params = IntervalParams & { readonly ACCUMULATE: number };

export const attentionIntervalsBackwardQuery = defineKernel({
  name: 'attentionIntervalsBackwardQuery',
  bindings: {
    q: 'read',
    k: 'read',
    v: 'read',
    dOut: 'read',
    lse: 'read',
    delta: 'read',
    intervals: 'read u32',
    dQ: 'read_write',
  },
  params: { ...intervalParams, ACCUMULATE: '1 adds to dQ' },
  variants: intervalVariants<Params>(source, 'ROWS', ({ B, HQ, TQ }, { ROWS }) => B * HQ * Math.ceil(TQ / ROWS)),
  cost(p) {
    const { q, k, v, out, rows } = inputSizes(unmasked(p));
    return {
      flops: 2 * allPairs(p) * (2 * p.D + p.DV),
      bytes: 4 * (2 * q + k + v + out + 2 * rows + intervalCount(p)),
    };
  },
  reference: (io, p) => queryGradient(io, unmasked(p), hidesBy(io.intervals, p)),
  sizes(p) {
    const { q, k, v, out, rows } = inputSizes(unmasked(p));
    return { q, k, v, dOut: out, lse: rows, delta: rows, intervals: intervalCount(p), dQ: q };
  },
  wasmRefuses,
  cases: intervalCases.map((p, i) => ({ ...p, ACCUMULATE: i % 2 })),
  testInput: (name, p, random) =>
    name === 'lse' ? testLse(p.B * p.HQ * p.TQ, random) : name === 'intervals' ? testIntervals(p, random) : undefined,
});
