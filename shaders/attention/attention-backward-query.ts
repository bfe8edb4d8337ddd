// Gradient of attention for the queries: dQ (+)= SCALE dS K with p = exp(s - lse), dS = p (dO v^T - delta); dQ has q's
// layout. lse is that of the whole softmax (after all merges), so blocks of keys simply add up with ACCUMULATE. delta
// comes from attention-delta. Rows whose lse is -1e30 saw no key: their gradient is 0. Source: Dao 2023, arXiv
// 2307.08691, algorithm 2.

import { defineKernel } from '../../src/device/kernel.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import type { AttentionParams } from './attention.ts';
import {
  attentionCases,
  attentionDynamic,
  attentionParams,
  eachRow,
  inputSizes,
  NO_KEY,
  tiledVariants,
  visiblePairs,
  wasmRefuses,
} from './attention.ts';
import vec4Source from './attention-backward-query-vec4.wgsl?raw';
import source from './attention-backward-query.wgsl?raw';

/** Calls visit(b, h, kv head, i, j, p, dS) for every visible pair, p and dS = p (dO v^T - delta) SCALE in f64. */
export function eachPair(
  io: {
    readonly q: TypedArray;
    readonly k: TypedArray;
    readonly v: TypedArray;
    readonly dOut: TypedArray;
    readonly lse: TypedArray;
    readonly delta: TypedArray;
  },
  p: AttentionParams,
  visit: (b: number, h: number, hkv: number, i: number, j: number, probability: number, dS: number) => void,
  hides?: (b: number, i: number, j: number) => boolean,
): void {
  const row = (b: number, h: number, hkv: number, i: number, scores: Float64Array): void => {
    const at = (b * p.HQ + h) * p.TQ + i;
    if (io.lse[at] <= NO_KEY / 10) return;
    for (let j = 0; j < p.TK; j++) {
      if (scores[j] === -Infinity) continue;
      let dP = 0;
      for (let d = 0; d < p.DV; d++)
        dP +=
          io.dOut[p.O_OFF + b * p.O_B + h * p.O_H + i * p.O_T + d] *
          io.v[p.V_OFF + b * p.V_B + hkv * p.V_H + j * p.V_T + d];
      // Rounded as delta was: a query that sees one key has dP = delta and a gradient of exactly 0.
      if (io.delta instanceof Float32Array) dP = Math.fround(dP);
      const probability = Math.exp(scores[j] - io.lse[at]);
      visit(b, h, hkv, i, j, probability, probability * (dP - io.delta[at]) * p.SCALE);
    }
  };
  eachRow(io.q, io.k, p, row, hides);
}

/** Contract inputs of lse: of the size that real ones have, some rows without keys. */
export function testLse(rows: number, random: () => number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: rows }, (_, i) => (i % 11 === 10 ? NO_KEY : 1 + 2 * random()));
}

export const attentionBackwardQuery = defineKernel({
  name: 'attentionBackwardQuery',
  bindings: { q: 'read', k: 'read', v: 'read', dOut: 'read', lse: 'read', delta: 'read', dQ: 'read_write' },
  params: { ...attentionParams, ACCUMULATE: '1 adds to dQ' },
  dynamic: attentionDynamic,
  variants: tiledVariants<AttentionParams & { readonly ACCUMULATE: number }>(
    vec4Source,
    source,
    'ROWS',
    () => '16x8',
    ({ B, HQ, TQ }, { ROWS }) => B * HQ * Math.ceil(TQ / ROWS),
  ),
  cost(p) {
    const { q, k, v, out, rows } = inputSizes(p);
    return { flops: 2 * visiblePairs(p) * (2 * p.D + p.DV), bytes: 4 * (2 * q + k + v + out + 2 * rows) };
  },
  reference: (io, p) => queryGradient(io, p),
  sizes(p) {
    const { q, k, v, out, rows } = inputSizes(p);
    return { q, k, v, dOut: out, lse: rows, delta: rows, dQ: q };
  },
  wasmRefuses,
  cases: attentionCases.map((p, i) => ({ ...p, ACCUMULATE: i % 2 })),
  testInput: (name, p, random) => (name === 'lse' ? testLse(p.B * p.HQ * p.TQ, random) : undefined),
});

type Io = Readonly<Record<'q' | 'k' | 'v' | 'dOut' | 'lse' | 'delta' | 'dQ', TypedArray>>;

/** dQ by the formula, in f64; `hides` as in eachRow. */
export function queryGradient(
  { dQ, ...io }: Io,
  p: AttentionParams & { readonly ACCUMULATE: number },
  hides?: (b: number, i: number, j: number) => boolean,
): void {
  const sums = new Float64Array(dQ.length);
  const add = (b: number, h: number, hkv: number, i: number, j: number, _probability: number, dS: number): void => {
    for (let d = 0; d < p.D; d++)
      sums[p.Q_OFF + b * p.Q_B + h * p.Q_H + i * p.Q_T + d] +=
        dS * io.k[p.K_OFF + b * p.K_B + hkv * p.K_H + j * p.K_T + d];
  };
  eachPair(io, p, add, hides);
  for (let b = 0; b < p.B; b++)
    for (let h = 0; h < p.HQ; h++)
      for (let i = 0; i < p.TQ; i++)
        for (let d = 0; d < p.D; d++) {
          const at = p.Q_OFF + b * p.Q_B + h * p.Q_H + i * p.Q_T + d;
          dQ[at] = sums[at] + (p.ACCUMULATE ? dQ[at] : 0);
        }
}
