// out [BATCH, M, N] (+)= act(SCALE * op(a) op(b) + bias) + residual. a is [M, K] ([K, M] if TRANS_A), b is [K, N] ([N,
// K] if TRANS_B). A_BATCH and B_BATCH are the elements between two batches, 0 shares one matrix. Unused bias and
// residual still need a buffer: pass `a`. 2 M N K flops per batch. Families of variants: tiles in registers alone,
// broadcasts within a subgroup, tiles in workgroup memory, split terms. Within a family big tiles load less, small
// tiles keep more threads busy.

import { defineKernel } from '../../src/device/kernel.ts';
import type { Constants, DeviceFeatures, Variant } from '../../src/device/kernel.ts';
import scalarSource from './matmul.wgsl?raw';
import sharedSource from './matmul-shared.wgsl?raw';
import sharedVec4Source from './matmul-shared-vec4.wgsl?raw';
import splitSource from './matmul-split.wgsl?raw';
import subgroupSource from './matmul-subgroup.wgsl?raw';
import subgroupVec4Source from './matmul-subgroup-vec4.wgsl?raw';
import vec4Source from './matmul-vec4.wgsl?raw';

const PARAMS = {
  BATCH: 'number of products',
  M: 'rows of out',
  N: 'columns of out',
  K: 'terms of each sum',
  TRANS_A: '1 if a is stored [K, M]',
  TRANS_B: '1 if b is stored [N, K]',
  A_BATCH: 'elements between batches of a, 0 to share',
  B_BATCH: 'elements between batches of b, 0 to share',
  BIAS: '1 adds bias[N] before ACT',
  ACT: '0 none, 1 gelu (tanh form), 2 silu',
  RESIDUAL: '1 adds residual [BATCH, M, N] after ACT',
  ACCUMULATE: '1 adds to out',
  SCALE: 'factor of the product',
};
/**
 * Only the quick variant reads them: one pipeline for all extents and layouts saves most of the compiling before the
 * first step. Where extents are constants, products run 5 to 10 % faster.
 */
const DYNAMIC = { M: 'u32', N: 'u32', K: 'u32', TRANS_A: 'u32', TRANS_B: 'u32' } as const;
type MatmulParams = Readonly<Record<keyof typeof PARAMS, number>>;

const MAX_WORKGROUPS = 65535;

/** Tiles of TILE_M x TILE_N outputs that cover all products. */
function tiles({ BATCH, M, N }: MatmulParams, tileM: number, tileN: number): number {
  return BATCH * Math.ceil(M / tileM) * Math.ceil(N / tileN);
}

/** Whether every row of four elements starts at a multiple of 16 bytes. */
function quads({ M, N, K, TRANS_A, A_BATCH, B_BATCH }: MatmulParams): boolean {
  return N % 4 === 0 && K % 4 === 0 && (!TRANS_A || M % 4 === 0) && A_BATCH % 4 === 0 && B_BATCH % 4 === 0;
}

/** The same for b and out alone. */
function quadsOfB({ N, K, TRANS_B, B_BATCH }: MatmulParams): boolean {
  return N % 4 === 0 && (!TRANS_B || K % 4 === 0) && B_BATCH % 4 === 0;
}

/**
 * The family and tile that is a good guess without measuring; `scalar` rules out the twin with wide loads. Measured on
 * SwiftShader (subgroups of 4) and lavapipe (8); for GPUs from the literature.
 */
function guess(p: MatmulParams, { software, subgroupSize }: DeviceFeatures): string {
  const { M, N, K, BATCH } = p;
  if (!software) {
    if (tiles(p, 128, 128) >= 32 && K >= 16) return 'shared-128x128';
    if (K >= 512 && tiles(p, 64, 64) < 16) return M < 4 ? 'split-1x4' : 'split-4x4';
    return tiles(p, 64, 64) >= 4 && K >= 16 ? 'shared-64x64' : 'registers-4x4';
  }
  // Loads cost 20 times an addition there, so big tiles win as long as all cores have work; but their compile time must
  // come back.
  const flops = 2 * BATCH * M * N * K;
  if (subgroupSize === 0) return tiles(p, 8, 8) >= 512 ? 'registers-8x8' : 'registers-4x4';
  if (subgroupSize > 4) {
    // lavapipe gathers lane by lane, so wide loads gain nothing there.
    if (M < 4) return 'registers-4x4 scalar';
    if (!quadsOfB(p)) return tiles(p, 8, 8) >= 256 ? 'registers-8x8 scalar' : 'registers-4x4 scalar';
    return flops >= 2 ** 24 && M >= 32 ? 'subgroup-32x4' : 'subgroup-16x4';
  }
  if (M < 4) return 'subgroup-1x8';
  if (flops >= 2 ** 27 && tiles(p, 16, 16 * subgroupSize) >= 16) return 'subgroup-16x16';
  if (flops >= 2 ** 20 && tiles(p, 16, 8 * subgroupSize) >= 8) return 'subgroup-16x8';
  return 'subgroup-4x8';
}

/**
 * The tile that compiles quickly on a software adapter: on SwiftShader a tenth of the time of the large ones, a third
 * of that of 4 x 8 in a subgroup.
 */
function quickGuess({ M }: MatmulParams, { subgroupSize }: DeviceFeatures): string {
  return M < 4 && subgroupSize > 0 ? 'subgroup-1x8' : 'quick-4x4';
}

interface Family {
  readonly name: string;
  readonly source: string;
  readonly halves?: boolean;
  readonly madeFor?: 'hardware' | 'software';
  readonly supports?: (p: MatmulParams) => boolean;
  readonly grid: Variant<MatmulParams>['grid'];
}

/** Half precision keeps 11 bits of each factor. */
const F16_TOLERANCE = 2e-3;

function variant(
  { name, source, madeFor, halves, supports, grid }: Family,
  label: string,
  constants: Constants,
): Variant<MatmulParams> {
  const base = name.replace(/-vec4|-f16/g, '');
  return {
    name: `${name}-${label}`,
    source,
    madeFor,
    supports,
    grid,
    fixes: base === 'quick' ? undefined : Object.keys(DYNAMIC),
    needs: base === 'subgroup' ? ['subgroups'] : halves ? ['f16'] : undefined,
    tolerance: halves ? F16_TOLERANCE : undefined,
    tune: Object.fromEntries(Object.entries(constants).map(([constant, value]) => [constant, [value]])),
    prefers: (p, features) =>
      [`${base}-${label}`, ...(name === base ? [`${base}-${label} scalar`] : [])].includes(guess(p, features)),
    quick: (p, features) =>
      [`${base}-${label}`, ...(name === base ? [`${base}-${label} scalar`] : [])].includes(quickGuess(p, features)),
  };
}

const blockGrid: Family['grid'] = ({ BATCH, M, N }, { TILE_M, TILE_N, WG_X, WG_Y }) => [
  Math.ceil(N / (TILE_N * WG_X)),
  Math.ceil(M / (TILE_M * WG_Y)),
  Math.min(BATCH, MAX_WORKGROUPS),
];
const splitGrid: Family['grid'] = ({ BATCH, M, N }, { TILE_M, TILE_N, WG_X }) => [
  Math.ceil(N / (TILE_N * WG_X)),
  Math.ceil(M / TILE_M),
  Math.min(BATCH, MAX_WORKGROUPS),
];
const subgroupGrid: Family['grid'] = ({ BATCH, M, N }, { TILE_M, TILE_N, GROUPS, SUBGROUP }) => [
  Math.ceil(N / (TILE_N * SUBGROUP * GROUPS)),
  Math.ceil(M / TILE_M),
  Math.min(BATCH, MAX_WORKGROUPS),
];

/** Of two twins the one with wide loads comes first. */
function twins(
  name: string,
  vec4: string,
  scalar: string,
  grid: Family['grid'],
  supports: (p: MatmulParams) => boolean,
  madeFor?: Family['madeFor'],
): readonly [Family, Family] {
  return [
    { name: `${name}-vec4`, source: vec4, madeFor, supports, grid },
    { name, source: scalar, madeFor, grid },
  ];
}

const subgroup = twins('subgroup', subgroupVec4Source, subgroupSource, subgroupGrid, quadsOfB);
const registers = twins('registers', vec4Source, scalarSource, blockGrid, quads);
const shared = twins('shared', sharedVec4Source, sharedSource, blockGrid, quads, 'hardware');
const sharedHalves = shared.map((family): Family => ({
  ...family,
  name: family.name.replace('shared', 'shared-f16'),
  halves: true,
}));
const quick: Family = { name: 'quick', source: scalarSource, madeFor: 'software', grid: blockGrid };
const split: Family = { name: 'split', source: splitSource, madeFor: 'hardware', grid: splitGrid };

const bothOf = (families: readonly Family[], label: string, constants: Constants): Variant<MatmulParams>[] =>
  families.map((family) => variant(family, label, constants));
const subgroupTile = (tileM: number, tileN: number): Variant<MatmulParams>[] =>
  bothOf(subgroup, `${tileM}x${tileN}`, { TILE_M: tileM, TILE_N: tileN, GROUPS: 1 });
const registerTile = (tileM: number, tileN: number, wgX: number, wgY: number): Variant<MatmulParams>[] =>
  bothOf(registers, `${tileM}x${tileN}`, { TILE_M: tileM, TILE_N: tileN, WG_X: wgX, WG_Y: wgY });

const VARIANTS: readonly Variant<MatmulParams>[] = [
  ...registerTile(8, 8, 8, 8),
  ...registerTile(4, 4, 16, 4),
  ...subgroupTile(16, 8),
  ...subgroupTile(4, 8),
  ...subgroupTile(16, 4),
  ...subgroupTile(1, 8),
  ...subgroupTile(16, 16),
  ...subgroupTile(32, 4),
  // Allowed only with reduced precision, and then first.
  ...bothOf([...sharedHalves, ...shared], '64x64', { TILE_M: 4, TILE_N: 4, WG_X: 16, WG_Y: 16, TERMS: 16 }),
  ...bothOf([...sharedHalves, ...shared], '128x128', { TILE_M: 8, TILE_N: 8, WG_X: 16, WG_Y: 16, TERMS: 16 }),
  variant(quick, '4x4', { TILE_M: 4, TILE_N: 4, WG_X: 16, WG_Y: 4 }),
  variant(split, '4x4', { TILE_M: 4, TILE_N: 4, WG_X: 16, WG_Y: 16 }),
  variant(split, '1x4', { TILE_M: 1, TILE_N: 4, WG_X: 32, WG_Y: 8 }),
];

function activate(x: number, act: number): number {
  if (act === 1) return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  return act === 2 ? x / (1 + Math.exp(-x)) : x;
}

const plain = {
  BATCH: 1,
  TRANS_A: 0,
  TRANS_B: 0,
  A_BATCH: 0,
  B_BATCH: 0,
  BIAS: 0,
  ACT: 0,
  RESIDUAL: 0,
  ACCUMULATE: 0,
  SCALE: 1,
};
const layouts = [
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
].map(([TRANS_A, TRANS_B]) => ({ ...plain, TRANS_A, TRANS_B }));

export const matmul = defineKernel({
  name: 'matmul',
  bindings: { a: 'read', b: 'read', bias: 'read', residual: 'read', out: 'read_write' },
  params: PARAMS,
  dynamic: DYNAMIC,
  variants: VARIANTS,
  cost: ({ BATCH, M, N, K, A_BATCH, B_BATCH, RESIDUAL, ACCUMULATE }) => ({
    flops: 2 * BATCH * M * N * K,
    bytes:
      4 * ((A_BATCH ? BATCH : 1) * M * K + (B_BATCH ? BATCH : 1) * K * N + BATCH * M * N * (1 + RESIDUAL + ACCUMULATE)),
  }),
  reference(
    { a, b, bias, residual, out },
    { BATCH, M, N, K, TRANS_A, TRANS_B, A_BATCH, B_BATCH, BIAS, ACT, RESIDUAL, ACCUMULATE, SCALE },
  ) {
    const [aRow, aK] = TRANS_A ? [1, M] : [K, 1];
    const [bCol, bK] = TRANS_B ? [K, 1] : [1, N];
    for (let batch = 0; batch < BATCH; batch++) {
      for (let i = 0; i < M; i++) {
        for (let j = 0; j < N; j++) {
          let sum = 0;
          for (let k = 0, x = batch * A_BATCH + i * aRow, y = batch * B_BATCH + j * bCol; k < K; k++, x += aK, y += bK)
            sum += a[x] * b[y];
          const at = (batch * M + i) * N + j;
          out[at] =
            activate(SCALE * sum + (BIAS ? bias[j] : 0), ACT) +
            (RESIDUAL ? residual[at] : 0) +
            (ACCUMULATE ? out[at] : 0);
        }
      }
    }
  },
  sizes: ({ BATCH, M, N, K, A_BATCH, B_BATCH, BIAS, RESIDUAL }) => ({
    a: A_BATCH * (BATCH - 1) + M * K,
    b: B_BATCH * (BATCH - 1) + K * N,
    bias: BIAS ? N : 4,
    residual: RESIDUAL ? BATCH * M * N : 4,
    out: BATCH * M * N,
  }),
  cases: [
    { ...plain, M: 1, N: 1, K: 1 },
    { ...plain, M: 1, N: 4, K: 4 },
    ...layouts.map((layout) => ({ ...layout, M: 65, N: 63, K: 17 })),
    ...layouts.map((layout) => ({ ...layout, M: 12, N: 20, K: 8 })),
    // Enough rows and columns for the big tiles, with edges of one quad.
    { ...plain, M: 148, N: 220, K: 36 },
    { ...plain, M: 148, N: 220, K: 20, TRANS_A: 1 },
    { ...plain, TRANS_B: 1, M: 5, N: 72, K: 8, BIAS: 1, ACT: 1, RESIDUAL: 1, ACCUMULATE: 1, SCALE: 0.5 },
    { ...plain, TRANS_B: 1, M: 147, N: 220, K: 12, BIAS: 1, ACT: 2, RESIDUAL: 1, SCALE: -2 },
    { ...plain, TRANS_A: 1, M: 8, N: 20, K: 52, ACCUMULATE: 1 },
    { ...plain, BATCH: 5, M: 33, N: 36, K: 16, A_BATCH: 33 * 16, B_BATCH: 36 * 16, TRANS_B: 1, SCALE: 0.25 },
    { ...plain, BATCH: 3, M: 7, N: 9, K: 11, A_BATCH: 0, B_BATCH: 99 },
    { ...plain, BATCH: 3, M: 4, N: 8, K: 12, A_BATCH: 48, B_BATCH: 0, RESIDUAL: 1 },
  ],
});
