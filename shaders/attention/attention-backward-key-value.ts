// Gradients of attention for keys and values: dK (+)= SCALE dS^T Q and dV (+)= p^T dO, summed over the query heads of
// each kv head. Both lie in the one buffer dKV, at DK_OFF + b DK_B + h DK_H + t DK_T + d and DV_OFF + ... (WebGPU
// forbids two writable bindings of one buffer). lse and delta as in attention-backward-query. Deterministic: every key
// is owned by one thread. Source: Dao 2023, arXiv 2307.08691, algorithm 2.

import { defineKernel } from '../../src/device/kernel.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import type { AttentionParams } from './attention.ts';
import {
  attentionCases,
  attentionDynamic,
  attentionParams,
  extent,
  inputSizes,
  tiledVariants,
  visiblePairs,
  wasmRefuses,
} from './attention.ts';
import { eachPair, testLse } from './attention-backward-query.ts';
import vec4Source from './attention-backward-key-value-vec4.wgsl?raw';
import source from './attention-backward-key-value.wgsl?raw';

export const gradientParams = {
  ACCUMULATE: '1 adds to dKV',
  DK_OFF: 'first element of dK in dKV',
  DK_B: 'elements between batches of dK',
  DK_H: 'between heads',
  DK_T: 'between positions',
  DV_OFF: 'first element of dV in dKV',
  DV_B: 'elements between batches of dV',
  DV_H: 'between heads',
  DV_T: 'between positions',
} as const;
export type KeyValueParams = AttentionParams & { readonly [K in keyof typeof gradientParams]: number };

/** Adds where the gradients go: dK dense [B,HKV,TK,D], then dV dense [B,HKV,TK,DV]. */
export function denseKeyValue(p: AttentionParams, ACCUMULATE = 0): KeyValueParams {
  const { B, HKV, TK, D, DV } = p;
  return {
    ...p,
    ACCUMULATE,
    DK_OFF: 0,
    DK_B: HKV * TK * D,
    DK_H: TK * D,
    DK_T: D,
    DV_OFF: B * HKV * TK * D,
    DV_B: HKV * TK * DV,
    DV_H: TK * DV,
    DV_T: DV,
  };
}

export const attentionBackwardKeyValue = defineKernel({
  name: 'attentionBackwardKeyValue',
  bindings: { q: 'read', k: 'read', v: 'read', dOut: 'read', lse: 'read', delta: 'read', dKV: 'read_write' },
  params: { ...attentionParams, ...gradientParams },
  dynamic: attentionDynamic,
  variants: tiledVariants<KeyValueParams>(
    vec4Source,
    source,
    'KEYS',
    () => '8x16',
    ({ B, HKV, TK }, { KEYS }) => B * HKV * Math.ceil(TK / KEYS),
  ),
  cost(p) {
    const { q, k, v, out, rows } = inputSizes(p);
    return { flops: 4 * visiblePairs(p) * (p.D + p.DV), bytes: 4 * (q + 2 * k + 2 * v + out + 2 * rows) };
  },
  reference: (io, p) => keyValueGradient(io, p),
  sizes(p) {
    const { q, k, v, out, rows } = inputSizes(p);
    return {
      q,
      k,
      v,
      dOut: out,
      lse: rows,
      delta: rows,
      dKV: Math.max(extent(p, 'DK', p.HKV, p.TK, p.D), extent(p, 'DV', p.HKV, p.TK, p.DV)),
    };
  },
  wasmRefuses,
  cases: attentionCases.map((p, i) => denseKeyValue(p, i % 2)),
  testInput: (name, p, random) => (name === 'lse' ? testLse(p.B * p.HQ * p.TQ, random) : undefined),
});

type Io = Readonly<Record<'q' | 'k' | 'v' | 'dOut' | 'lse' | 'delta' | 'dKV', TypedArray>>;

/** dK and dV by the formula, in f64; `hides` as in eachRow. */
export function keyValueGradient(
  { dKV, ...io }: Io,
  p: KeyValueParams,
  hides?: (b: number, i: number, j: number) => boolean,
): void {
  const sums = new Float64Array(dKV.length);
  const add = (b: number, h: number, hkv: number, i: number, j: number, probability: number, dS: number): void => {
    for (let d = 0; d < p.D; d++)
      sums[p.DK_OFF + b * p.DK_B + hkv * p.DK_H + j * p.DK_T + d] +=
        dS * io.q[p.Q_OFF + b * p.Q_B + h * p.Q_H + i * p.Q_T + d];
    for (let d = 0; d < p.DV; d++)
      sums[p.DV_OFF + b * p.DV_B + hkv * p.DV_H + j * p.DV_T + d] +=
        probability * io.dOut[p.O_OFF + b * p.O_B + h * p.O_H + i * p.O_T + d];
  };
  eachPair(io, p, add, hides);
  for (let b = 0; b < p.B; b++)
    for (let h = 0; h < p.HKV; h++)
      for (let j = 0; j < p.TK; j++) {
        const store = (at: number) => {
          dKV[at] = sums[at] + (p.ACCUMULATE ? dKV[at] : 0);
        };
        for (let d = 0; d < p.D; d++) store(p.DK_OFF + b * p.DK_B + h * p.DK_H + j * p.DK_T + d);
        for (let d = 0; d < p.DV; d++) store(p.DV_OFF + b * p.DV_B + h * p.DV_H + j * p.DV_T + d);
      }
}
