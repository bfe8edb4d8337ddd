// Causal or full attention of one block of queries over one block of keys: out = softmax(SCALE q k^T) v and lse = log
// sum exp of the scores. q [B,HQ,TQ,D], k [B,HKV,TK,D], v [B,HKV,TK,DV], out [B,HQ,TQ,DV] lie anywhere: element
// (b,h,t,d) of x is at X_OFF + b X_B + h X_H + t X_T + d. Query i sees key j if j + K_START <= i + Q_START. A query
// that sees nothing gets out 0 and lse -1e30 (read: minus infinity). Memory beyond the arguments: none (no TQ x TK
// buffer). Source: Dao 2023, arXiv 2307.08691. Backward: attention-delta, -backward-query, -key-value.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import type { Constants, DeviceFeatures, Params, Variant } from '../../src/device/kernel.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import vec4Source from './attention-vec4.wgsl?raw';
import source from './attention.wgsl?raw';

/** lse of a query that sees no key; everything at or below NO_KEY / 10 means the same. */
export const NO_KEY = -1e30;

export const attentionParams = {
  B: 'batch',
  HQ: 'query heads',
  HKV: 'key and value heads, at most HQ; head h reads floor(h HKV / HQ)',
  TQ: 'queries',
  TK: 'keys',
  D: 'entries of a query and key',
  DV: 'entries of a value',
  SCALE: 'of the scores',
  CAUSAL: '1 hides later keys',
  Q_START: 'position of query 0, not negative',
  K_START: 'position of key 0, not negative',
  Q_OFF: 'first element of q',
  Q_B: 'elements between batches of q',
  Q_H: 'between heads',
  Q_T: 'between positions',
  K_OFF: 'first element of k',
  K_B: 'elements between batches of k',
  K_H: 'between heads',
  K_T: 'between positions',
  V_OFF: 'first element of v',
  V_B: 'elements between batches of v',
  V_H: 'between heads',
  V_T: 'between positions',
  O_OFF: 'first element of out',
  O_B: 'elements between batches of out',
  O_H: 'between heads',
  O_T: 'between positions',
} as const;
/**
 * What changes from block to block of a whole. A ring of any size has one pipeline for the block on the diagonal and
 * one for full blocks; a cache of keys grows without a new one.
 */
export const attentionDynamic = { TK: 'u32', Q_START: 'u32', K_START: 'u32' } as const;
export type AttentionParams = { readonly [K in keyof typeof attentionParams]: number };

/** Elements of the buffer that [B,H,T,width] reaches into. */
export function extent(params: Params, prefix: string, heads: number, length: number, width: number): number {
  const { [`${prefix}_OFF`]: offset, [`${prefix}_B`]: b, [`${prefix}_H`]: h, [`${prefix}_T`]: t } = params;
  return offset + (params['B'] - 1) * b + (heads - 1) * h + (length - 1) * t + width;
}

export function inputSizes(p: AttentionParams): { q: number; k: number; v: number; out: number; rows: number } {
  const { B, HQ, HKV, TQ, TK, D, DV } = p;
  return {
    q: extent(p, 'Q', HQ, TQ, D),
    k: extent(p, 'K', HKV, TK, D),
    v: extent(p, 'V', HKV, TK, DV),
    out: extent(p, 'O', HQ, TQ, DV),
    rows: B * HQ * TQ,
  };
}

/** Pairs (query, key) that see each other, over all heads and batches. */
export function visiblePairs({ B, HQ, TQ, TK, CAUSAL, Q_START, K_START }: AttentionParams): number {
  if (!CAUSAL) return B * HQ * TQ * TK;
  let pairs = 0;
  for (let i = 0; i < TQ; i++) pairs += Math.min(TK, Math.max(0, i + Q_START - K_START + 1));
  return B * HQ * pairs;
}

/** Entries of a key and a value together whose panels fit into a thread's scratch memory; see space.as.ts. */
export const MOST_WASM_ENTRIES = 3264;

/** Of all attention kernels alike, so that what has a forward has its gradients. */
export function wasmRefuses({ D, DV }: Pick<AttentionParams, 'D' | 'DV'>): string | undefined {
  if (D + DV <= MOST_WASM_ENTRIES) return undefined;
  return `expected heads of at most ${MOST_WASM_ENTRIES} entries of a key and a value together in WebAssembly, got ${D + DV}; use smaller heads or another backend`;
}

/** True if all offsets, strides and head sizes are multiples of 4. */
export function divisibleBy4(params: Params): boolean {
  return Object.entries(params).every(([name, value]) => !/^(D|DV|.*_(OFF|B|H|T))$/.test(name) || value % 4 === 0);
}

/**
 * Pairs (query, key) times head size from which a tile of 128 pays for its compile time (3 s on SwiftShader for all
 * three kernels).
 */
const MUCH_WORK = 2 ** 24;
/** Pairs from which the tile of 64 pays for its own (3 x that of the tile of 16). */
const MANY_PAIRS = 2 ** 17;
/** Pairs up to which no tile pays: one row at a time compiles 5 times faster on SwiftShader, 20 on lavapipe. */
const FEW_PAIRS = 2 ** 15;

/**
 * How many rows a thread owns, and how many it walks at a time, in `vec4` texts a multiple of 4: a larger tile does
 * more arithmetic per load.
 */
function guess(p: AttentionParams, large: string): string {
  const pairs = p.B * p.HQ * p.TQ * p.TK;
  const aligned = divisibleBy4(p);
  if (pairs <= FEW_PAIRS) return aligned ? 'vec4-1x4' : 'scalar-1x1';
  if (!aligned) return 'scalar-4x4';
  if (pairs < MANY_PAIRS || Math.min(p.TQ, p.TK) < 32) return 'vec4-4x4';
  return pairs * p.D >= MUCH_WORK ? `vec4-${large}` : 'vec4-8x8';
}

/** A block of queries that all see every key, in whole tiles, does without a mask. */
const masked = ({ CAUSAL, TK }: AttentionParams, { KEYS }: Constants): Constants => ({
  MASKED: CAUSAL === 1 || TK % KEYS !== 0 ? 1 : 0,
});

/**
 * The variants of the tiled kernels. `threads` counts threads for these constants; `own` is what a thread owns, queries
 * (ROWS) or keys (KEYS), while it walks the others; `large` is the tile for much work, measured on SwiftShader and
 * lavapipe.
 */
export function tiledVariants<P extends AttentionParams>(
  vec4: string,
  scalar: string,
  own: 'ROWS' | 'KEYS',
  large: (features: DeviceFeatures) => string,
  threads: (params: P, constants: Constants) => number,
): readonly Variant<P>[] {
  const grid = (params: P, constants: Constants) => linearGrid(threads(params, constants), constants['WG']);
  const walk = own === 'ROWS' ? 'KEYS' : 'ROWS';
  const tile = (kind: string, source: string, owned: number, walked: number): Variant<P> => ({
    name: `${kind}-${owned}x${walked}`,
    source,
    tune: { [own]: [owned], [walk]: [walked], WG: [16] },
    grid,
    quick: (p) => `${kind}-${owned}x${walked}` === (divisibleBy4(p) ? 'vec4-1x4' : 'scalar-1x1'),
    supports: kind === 'vec4' ? divisibleBy4 : undefined,
    prefers: (p, features) => guess(p, large(features)) === `${kind}-${owned}x${walked}`,
    derive: own === 'ROWS' ? masked : undefined,
  });
  return [
    ...[
      [8, 8],
      [8, 16],
      [16, 8],
      [4, 4],
      [16, 16],
      [1, 4],
    ].map(([owned, walked]) => tile('vec4', vec4, owned, walked)),
    ...[
      [4, 4],
      [1, 1],
    ].map(([owned, walked]) => tile('scalar', scalar, owned, walked)),
  ];
}

/**
 * Calls visit(b, h, kv head, i, scores of the keys that query i sees) for every query; hidden keys are -Infinity, and
 * so are those that `hides` (batch, query, key) names. Sums in f64.
 */
export function eachRow(
  q: TypedArray,
  k: TypedArray,
  p: AttentionParams,
  visit: (b: number, h: number, hkv: number, i: number, scores: Float64Array) => void,
  hides: (b: number, i: number, j: number) => boolean = () => false,
): void {
  for (let b = 0; b < p.B; b++)
    for (let h = 0; h < p.HQ; h++) {
      const hkv = Math.floor((h * p.HKV) / p.HQ);
      for (let i = 0; i < p.TQ; i++) {
        const scores = new Float64Array(p.TK).fill(-Infinity);
        for (let j = 0; j < p.TK; j++) {
          if ((p.CAUSAL && j + p.K_START > i + p.Q_START) || hides(b, i, j)) continue;
          let sum = 0;
          for (let d = 0; d < p.D; d++)
            sum +=
              q[p.Q_OFF + b * p.Q_B + h * p.Q_H + i * p.Q_T + d] * k[p.K_OFF + b * p.K_B + hkv * p.K_H + j * p.K_T + d];
          scores[j] = sum * p.SCALE;
        }
        visit(b, h, hkv, i, scores);
      }
    }
}

export interface AttentionShape {
  B?: number;
  HQ?: number;
  HKV?: number;
  TQ: number;
  TK?: number;
  D: number;
  DV?: number;
  CAUSAL?: number;
  Q_START?: number;
  K_START?: number;
  SCALE?: number;
}

/** Params of dense tensors [B,H,T,D]; HKV defaults to HQ, TK to TQ, DV to D, SCALE to 1 / sqrt(D). */
export function denseAttention({
  B = 1,
  HQ = 1,
  HKV = HQ,
  TQ,
  TK = TQ,
  D,
  DV = D,
  CAUSAL = 0,
  Q_START = 0,
  K_START = 0,
  SCALE = 1 / Math.sqrt(D),
}: AttentionShape): AttentionParams {
  return {
    B,
    HQ,
    HKV,
    TQ,
    TK,
    D,
    DV,
    SCALE,
    CAUSAL,
    Q_START,
    K_START,
    Q_OFF: 0,
    Q_B: HQ * TQ * D,
    Q_H: TQ * D,
    Q_T: D,
    K_OFF: 0,
    K_B: HKV * TK * D,
    K_H: TK * D,
    K_T: D,
    V_OFF: 0,
    V_B: HKV * TK * DV,
    V_H: TK * DV,
    V_T: DV,
    O_OFF: 0,
    O_B: HQ * TQ * DV,
    O_H: TQ * DV,
    O_T: DV,
  };
}

/**
 * Params of q, k, v packed in the rows of one tensor [B*T, (HQ + 2 HKV) D], and out [B*T, HQ D]: what a fused qkv
 * projection makes.
 */
export function packedAttention({
  B = 1,
  HQ = 1,
  HKV = HQ,
  TQ: T,
  D,
  ...rest
}: Omit<AttentionShape, 'TK' | 'DV'>): AttentionParams {
  const row = (HQ + 2 * HKV) * D;
  return {
    ...denseAttention({ B, HQ, HKV, TQ: T, D, ...rest }),
    Q_OFF: 0,
    Q_B: T * row,
    Q_H: D,
    Q_T: row,
    K_OFF: HQ * D,
    K_B: T * row,
    K_H: D,
    K_T: row,
    V_OFF: (HQ + HKV) * D,
    V_B: T * row,
    V_H: D,
    V_T: row,
    O_OFF: 0,
    O_B: T * HQ * D,
    O_H: D,
    O_T: HQ * D,
  };
}

/** What the contract runs for all three tiled kernels. */
export const attentionCases: readonly AttentionParams[] = [
  denseAttention({ TQ: 1, D: 1 }),
  denseAttention({ HQ: 8, HKV: 4, TQ: 129, TK: 131, D: 8, CAUSAL: 1, Q_START: 2 }),
  denseAttention({ HQ: 2, HKV: 1, TQ: 5, TK: 7, D: 3, DV: 5, CAUSAL: 1, Q_START: 1, K_START: 3 }),
  packedAttention({ B: 2, HQ: 3, HKV: 2, TQ: 9, D: 4, CAUSAL: 1 }),
  denseAttention({ HQ: 3, TQ: 6, TK: 19, D: 8, DV: 12 }),
];

export const attention = defineKernel({
  name: 'attention',
  bindings: { q: 'read', k: 'read', v: 'read', out: 'read_write', lse: 'read_write' },
  params: attentionParams,
  dynamic: attentionDynamic,
  variants: tiledVariants(
    vec4Source,
    source,
    'ROWS',
    ({ subgroupSize }) => (subgroupSize > 4 ? '8x8' : '8x16'),
    ({ B, HQ, TQ }, { ROWS }) => B * HQ * Math.ceil(TQ / ROWS),
  ),
  cost(p) {
    const { q, k, v, rows } = inputSizes(p);
    return { flops: 2 * visiblePairs(p) * (p.D + p.DV), bytes: 4 * (q + k + v + rows * (p.DV + 1)) };
  },
  reference: attend,
  sizes(p) {
    const { q, k, v, out, rows } = inputSizes(p);
    return { q, k, v, out, lse: rows };
  },
  wasmRefuses,
  cases: attentionCases,
});

/** out and lse of every query by the formula, in f64, so NaN where it sees NaN; `hides` as in eachRow. */
export function attend(
  { q, k, v, out, lse }: Readonly<Record<'q' | 'k' | 'v' | 'out' | 'lse', TypedArray>>,
  p: AttentionParams,
  hides?: (b: number, i: number, j: number) => boolean,
): void {
  eachRow(
    q,
    k,
    p,
    (b, h, hkv, i, scores) => {
      const top = scores.reduce((a, x) => Math.max(a, x), -Infinity);
      const weights = scores.map((x) => (top === -Infinity ? 0 : Math.exp(x - top)));
      const sum = weights.reduce((a, x) => a + x, 0);
      const at = p.O_OFF + b * p.O_B + h * p.O_H + i * p.O_T;
      for (let d = 0; d < p.DV; d++) {
        let value = 0;
        for (let j = 0; j < p.TK; j++) value += weights[j] * v[p.V_OFF + b * p.V_B + hkv * p.V_H + j * p.V_T + d];
        out[at + d] = top === -Infinity ? 0 : value / sum;
      }
      lse[(b * p.HQ + h) * p.TQ + i] = top === -Infinity ? NO_KEY : top + Math.log(sum);
    },
    hides,
  );
}
