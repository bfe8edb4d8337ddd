// ONNX operators as plain loops in f64, by their definitions: what the cases of verify-onnx.test.ts are computed with.

import type { Given } from './case-folder.ts';

type Shape = readonly number[];
/** Index of an element by batch, head, position and feature. */
export type Place = (b: number, h: number, t: number, d: number) => number;

export const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
export const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
export const size = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);
export const at = (one: Given, i: number): number => one.values[i] as number;

/** [B, H, T, D] as it lies. */
export const dense =
  ([, H, T, D]: Shape): Place =>
  (b, h, t, d) =>
    ((b * H + h) * T + t) * D + d;
/** [B, T, H * D]. */
export const flat =
  (heads: number, [, T, C]: Shape): Place =>
  (b, h, t, d) =>
    (b * T + t) * C + (h * C) / heads + d;

/** Element `i` of `shape` broadcast from `one`. */
export function broadcast(one: Given, shape: Shape, i: number): number {
  let [rest, place, stride] = [i, 0, 1];
  for (let d = 1; d <= shape.length; d++) {
    const [extent, own] = [shape[shape.length - d], one.shape[one.shape.length - d] ?? 1];
    if (own > 1) place += (rest % extent) * stride;
    stride *= own;
    rest = Math.floor(rest / extent);
  }
  return at(one, place);
}

/** Every row along `axis` mapped by `of`. */
export function along(x: Given, axis: number, of: (row: readonly number[]) => readonly number[]): number[] {
  const [outer, C, inner] = [size(x.shape.slice(0, axis)), x.shape[axis], size(x.shape.slice(axis + 1))];
  const out = Array<number>(x.values.length);
  for (let o = 0; o < outer; o++) {
    for (let n = 0; n < inner; n++) {
      const row = of(count(C).map((c) => at(x, (o * C + c) * inner + n)));
      row.forEach((value, c) => {
        out[(o * C + c) * inner + n] = value;
      });
    }
  }
  return out;
}

export const softmax = (row: readonly number[]): number[] => row.map((x) => Math.exp(x) / sum(row.map(Math.exp)));
export const logSoftmax = (row: readonly number[]): number[] => softmax(row).map(Math.log);
export const silu = (x: number): number => x / (1 + Math.exp(-x));

/** By its series, right to f64 for |x| up to 3. */
export function erf(x: number): number {
  let [power, total] = [x, x];
  for (let n = 1; n < 80; n++) {
    power *= (-x * x) / n;
    total += power / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

export function matmul(a: Given, b: Given, transA = false, transB = false): number[] {
  const [M, K] = transA ? [a.shape[1], a.shape[0]] : a.shape;
  const N = transB ? b.shape[0] : b.shape[1];
  return count(M * N).map((i) => {
    const [m, n] = [Math.floor(i / N), i % N];
    return sum(count(K).map((k) => at(a, transA ? k * M + m : m * K + k) * at(b, transB ? n * K + k : k * N + n)));
  });
}

export interface Heads {
  readonly B: number;
  readonly HQ: number;
  readonly HKV: number;
  readonly TQ: number;
  readonly TK: number;
  readonly D: number;
  readonly DV: number;
}

export function attention(
  [q, k, v]: readonly Given[],
  [inQ, inK, inV, inOut]: readonly Place[],
  { B, HQ, HKV, TQ, TK, D, DV }: Heads,
  scale: number,
  causal: boolean,
): number[] {
  const out = Array<number>(B * HQ * TQ * DV);
  for (let b = 0; b < B; b++)
    for (let h = 0; h < HQ; h++)
      for (let t = 0; t < TQ; t++) {
        const kv = Math.floor((h * HKV) / HQ);
        const keys = count(TK).filter((j) => !causal || j <= t);
        const p = softmax(
          keys.map((j) => scale * sum(count(D).map((d) => at(q, inQ(b, h, t, d)) * at(k, inK(b, kv, j, d))))),
        );
        for (let d = 0; d < DV; d++) out[inOut(b, h, t, d)] = sum(keys.map((j) => p[j] * at(v, inV(b, kv, j, d))));
      }
  return out;
}

/** Over all dimensions from `axis` on; not centred: RMS. */
export function norm(
  x: Given,
  axis: number,
  w: Given,
  b: Given | undefined,
  eps: number,
  centred: boolean,
): { y: number[]; mean: number[]; rstd: number[] } {
  const C = size(x.shape.slice(axis));
  const all: { y: number[]; mean: number[]; rstd: number[] } = { y: [], mean: [], rstd: [] };
  for (let r = 0; r < size(x.shape) / C; r++) {
    const row = count(C).map((c) => at(x, r * C + c));
    const mean = centred ? sum(row) / C : 0;
    const rstd = 1 / Math.sqrt(sum(row.map((value) => (value - mean) ** 2)) / C + eps);
    all.mean.push(mean);
    all.rstd.push(rstd);
    all.y.push(...row.map((value, c) => (value - mean) * rstd * at(w, c) + (b ? at(b, c) : 0)));
  }
  return all;
}

/** Row losses of log-probabilities [N, C, ...], 0 where the target is `ignore`, and the sum of the rows' weights. */
export function rowLosses(
  logs: Given,
  targets: Given,
  weight?: Given,
  ignore?: number,
): { losses: number[]; used: number } {
  const [C, D] = [logs.shape[1], size(logs.shape.slice(2))];
  const weights = Array.from(targets.values, (id) => (id === ignore ? 0 : weight ? at(weight, id) : 1));
  const loss = (w: number, i: number): number => -w * at(logs, (Math.floor(i / D) * C + at(targets, i)) * D + (i % D));
  return { losses: weights.map((w, i) => (w === 0 ? 0 : loss(w, i))), used: sum(weights) };
}

export interface Rotation {
  readonly B: number;
  readonly H: number;
  readonly T: number;
  readonly rotated: number;
  readonly interleaved: boolean;
}

/**
 * Pairs of the first `rotated` features of each head turned by row `positions[b * T + t]` of the caches [positions,
 * rotated / 2].
 */
export function rotary(
  x: Given,
  cos: Given,
  sin: Given,
  positions: readonly number[],
  place: Place,
  { B, H, T, rotated, interleaved }: Rotation,
): number[] {
  const out = Array.from(x.values);
  const half = rotated / 2;
  for (let b = 0; b < B; b++)
    for (let h = 0; h < H; h++)
      for (let t = 0; t < T; t++)
        for (let i = 0; i < half; i++) {
          const [first, second] = (interleaved ? [2 * i, 2 * i + 1] : [i, i + half]).map((d) => place(b, h, t, d));
          const entry = positions[b * T + t] * half + i;
          out[first] = at(cos, entry) * at(x, first) - at(sin, entry) * at(x, second);
          out[second] = at(sin, entry) * at(x, first) + at(cos, entry) * at(x, second);
        }
  return out;
}
