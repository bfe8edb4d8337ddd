// Attention as in attention.ts, where offsets do not say what a query sees: documents, tokens that other ranks hold in
// any order, padding. `intervals` u32 [3 * B * T]: first and last column of the keys that each query sees (per batch
// and query), then the column of each key (per batch and key), the largest u32 for one that nobody sees. A query that
// sees nothing gets out 0 and lse -1e30. Source: Dao 2023, arXiv 2307.08691.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import type { Constants, Variant } from '../../src/device/kernel.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import { attend, attentionCases, attentionParams, inputSizes, wasmRefuses } from './attention.ts';
import type { AttentionParams } from './attention.ts';
import source from './attention-intervals.wgsl?raw';

const { CAUSAL: _causal, Q_START: _qStart, K_START: _kStart, ...intervalParams } = attentionParams;
export { intervalParams };
export type IntervalParams = Omit<AttentionParams, 'CAUSAL' | 'Q_START' | 'K_START'>;

/** Column of a key that nobody sees. */
const NOWHERE = 0xffffffff;

/** The same params for the functions of attention.ts, which then hide nothing by themselves. */
export function unmasked<P extends IntervalParams>(p: P): P & AttentionParams {
  return { ...p, CAUSAL: 0, Q_START: 0, K_START: 0 };
}

/** Whether the intervals hide key j from query i of batch b. */
export function hidesBy(
  intervals: TypedArray,
  { B, TQ, TK }: IntervalParams,
): (b: number, i: number, j: number) => boolean {
  return (b, i, j) => {
    const column = intervals[2 * B * TQ + b * TK + j];
    const at = 2 * (b * TQ + i);
    return column < intervals[at] || column > intervals[at + 1];
  };
}

export function intervalCount({ B, TQ, TK }: IntervalParams): number {
  return B * (2 * TQ + TK);
}

/** Pairs (query, key) over all heads and batches; how many of them are seen is data. */
export function allPairs({ B, HQ, TQ, TK }: IntervalParams): number {
  return B * HQ * TQ * TK;
}

/** Tiles as in attention.ts, scalar: `own` is what a thread owns while it walks the others. */
export function intervalVariants<P extends IntervalParams>(
  source: string,
  own: 'ROWS' | 'KEYS',
  threads: (params: P, constants: Constants) => number,
): readonly Variant<P>[] {
  const walk = own === 'ROWS' ? 'KEYS' : 'ROWS';
  const few = ({ TQ, TK }: IntervalParams): boolean => TQ * TK <= 4096;
  return [1, 4].map((size) => ({
    name: `scalar-${size}x${size}`,
    source,
    tune: { [own]: [size], [walk]: [size], WG: [16] },
    grid: (params, constants) => linearGrid(threads(params, constants), constants['WG']),
    quick: () => size === 1,
    prefers: (p) => few(p) === (size === 1),
  }));
}

/** Documents of a few tokens in rows that start anywhere, some padding, and keys of a rank before or after. */
export function testIntervals(p: IntervalParams, random: () => number): Uint32Array<ArrayBuffer> {
  const out = new Uint32Array(intervalCount(p));
  const shift = Math.floor(random() * 3);
  for (let b = 0; b < p.B; b++) {
    let start = 0;
    for (let i = 0; i < p.TQ; i++) {
      if (random() < 0.2) start = i;
      out.set(random() < 0.1 ? [1, 0] : [start + shift, i + shift], 2 * (b * p.TQ + i));
    }
    for (let j = 0; j < p.TK; j++) out[2 * p.B * p.TQ + b * p.TK + j] = random() < 0.1 ? NOWHERE : j;
  }
  return out;
}

function withoutMask({ CAUSAL: _1, Q_START: _2, K_START: _3, ...p }: AttentionParams): IntervalParams {
  return p;
}
export const intervalCases: readonly IntervalParams[] = attentionCases.map(withoutMask);

export const attentionIntervals = defineKernel({
  name: 'attentionIntervals',
  bindings: { q: 'read', k: 'read', v: 'read', intervals: 'read u32', out: 'read_write', lse: 'read_write' },
  params: intervalParams,
  variants: intervalVariants(source, 'ROWS', ({ B, HQ, TQ }, { ROWS }) => B * HQ * Math.ceil(TQ / ROWS)),
  cost(p) {
    const { q, k, v, rows } = inputSizes(unmasked(p));
    return { flops: 2 * allPairs(p) * (p.D + p.DV), bytes: 4 * (q + k + v + rows * (p.DV + 1) + intervalCount(p)) };
  },
  reference: (io, p) => attend(io, unmasked(p), hidesBy(io.intervals, p)),
  sizes(p) {
    const { q, k, v, out, rows } = inputSizes(unmasked(p));
    return { q, k, v, intervals: intervalCount(p), out, lse: rows };
  },
  wasmRefuses,
  cases: intervalCases,
  testInput: (name, p, random) => (name === 'intervals' ? testIntervals(p, random) : undefined),
});
