// Gradients of keys and values under the mask of attention-intervals.ts; otherwise as attention-backward-key-value.ts.
// Source: Dao 2023, arXiv 2307.08691, algorithm 2.

import { defineKernel } from '../../src/device/kernel.ts';
import { extent, inputSizes, wasmRefuses } from './attention.ts';
import { denseKeyValue, gradientParams, keyValueGradient } from './attention-backward-key-value.ts';
import type { KeyValueParams } from './attention-backward-key-value.ts';
import { testLse } from './attention-backward-query.ts';
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
import source from './attention-intervals-backward-key-value.wgsl?raw';

type Params = Omit<KeyValueParams, 'CAUSAL' | 'Q_START' | 'K_START'>;

export const attentionIntervalsBackwardKeyValue = defineKernel({
  name: 'attentionIntervalsBackwardKeyValue',
  bindings: {
    q: 'read',
    k: 'read',
    v: 'read',
    dOut: 'read',
    lse: 'read',
    delta: 'read',
    intervals: 'read u32',
    dKV: 'read_write',
  },
  params: { ...intervalParams, ...gradientParams },
  variants: intervalVariants<Params>(source, 'KEYS', ({ B, HKV, TK }, { KEYS }) => B * HKV * Math.ceil(TK / KEYS)),
  cost(p) {
    const { q, k, v, out, rows } = inputSizes(unmasked(p));
    return {
      flops: 4 * allPairs(p) * (p.D + p.DV),
      bytes: 4 * (q + 2 * k + 2 * v + out + 2 * rows + intervalCount(p)),
    };
  },
  reference: (io, p) => keyValueGradient(io, unmasked(p), hidesBy(io.intervals, p)),
  sizes(p) {
    const { q, k, v, out, rows } = inputSizes(unmasked(p));
    return {
      q,
      k,
      v,
      dOut: out,
      lse: rows,
      delta: rows,
      intervals: intervalCount(p),
      dKV: Math.max(extent(p, 'DK', p.HKV, p.TK, p.D), extent(p, 'DV', p.HKV, p.TK, p.DV)),
    };
  },
  wasmRefuses,
  cases: intervalCases.map((p, i): Params => {
    const { CAUSAL: _1, Q_START: _2, K_START: _3, ...rest } = denseKeyValue(unmasked(p), i % 2);
    return rest;
  }),
  testInput: (name, p, random) =>
    name === 'lse' ? testLse(p.B * p.HQ * p.TQ, random) : name === 'intervals' ? testIntervals(p, random) : undefined,
});
