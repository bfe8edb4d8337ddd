// Seeded defects: kernels broken on purpose, one text edit each, that the kernel contract must catch on a real adapter.

import type { Kernel, Params } from '../../src/device/kernel.ts';
import { isSupported } from '../../src/device/variant.ts';
import { adamw } from '../../shaders/optimizer/adamw.ts';
import { columnSum } from '../../shaders/reduce/column-sum.ts';
import { gatherRows } from '../../shaders/moe/gather-rows.ts';
import { groupedMatmul } from '../../shaders/moe/grouped-matmul.ts';
import { groupedMatmulWeight } from '../../shaders/moe/grouped-matmul-weight.ts';
import { layerNormBackwardWeight } from '../../shaders/norm/layer-norm-backward-weight.ts';
import { layerNormBackward } from '../../shaders/norm/layer-norm-backward.ts';
import { matmul } from '../../shaders/matmul/matmul.ts';
import { moePermute } from '../../shaders/moe/moe-permute.ts';
import { rmsNormBackward } from '../../shaders/norm/rms-norm-backward.ts';
import { rmsNorm } from '../../shaders/norm/rms-norm.ts';
import { routerBackward } from '../../shaders/moe/router-backward.ts';
import { routerTopK } from '../../shaders/moe/router-top-k.ts';
import { squareBins } from '../../shaders/optimizer/square-bins.ts';

export interface Defect {
  readonly what: string;
  readonly kernel: Kernel;
  readonly variant: string;
  readonly from: string;
  readonly to: string;
  /** The cases that matter; all by default. */
  readonly where?: Params;
}

const FEATURES = {
  subgroupSize: 4,
  f16: false,
  reducedPrecision: false,
  software: true,
  maxWorkgroupStorageBytes: 16384,
  maxInvocations: 256,
};

export const DEFECTS: readonly Defect[] = [
  { what: 'drops the last k', kernel: matmul, variant: 'registers-4x4', from: 'k < K;', to: 'k < K - 1u;' },
  {
    what: 'drops the last quad of k',
    kernel: matmul,
    variant: 'registers-vec4-4x4',
    from: 'k < K / 4u;',
    to: 'k < K / 4u - 1u;',
  },
  {
    what: 'reads b as if it were not transposed',
    kernel: matmul,
    variant: 'registers-vec4-8x8',
    from: 'if (TRANS_B == 1u)',
    to: 'if (TRANS_B == 2u)',
    where: { TRANS_B: 1 },
  },
  {
    what: 'swaps two components when it turns a',
    kernel: matmul,
    variant: 'registers-vec4-8x8',
    from: 'vec4(r0.y, r1.y, r2.y, r3.y)',
    to: 'vec4(r0.y, r2.y, r1.y, r3.y)',
    where: { TRANS_A: 1 },
  },
  {
    what: 'writes instead of accumulating',
    kernel: matmul,
    variant: 'registers-4x4',
    from: 'v += out[at]',
    to: 'v += 0.0',
    where: { ACCUMULATE: 1 },
  },
  {
    what: 'adds the residual before the activation',
    kernel: matmul,
    variant: 'registers-4x4',
    where: { RESIDUAL: 1 },
    from: 'v = activate(v);',
    to: 'v = activate(v + f32(RESIDUAL) * residual[at]) - f32(RESIDUAL) * residual[at];',
  },
  {
    what: 'adds an edge twice',
    kernel: matmul,
    variant: 'registers-4x4',
    from: 'acc[i * TILE_N + j] = v;',
    to: 'out[at] = v; acc[i * TILE_N + j] = v;',
    where: { ACCUMULATE: 1 },
  },
  {
    what: 'shares batch 0 of a',
    kernel: matmul,
    variant: 'registers-vec4-4x4',
    from: 'batch * (A_BATCH / 4u)',
    to: '0u',
    where: { BATCH: 5 },
  },
  {
    what: 'takes another lane for the second row of a load',
    kernel: matmul,
    variant: 'subgroup-vec4-4x8',
    from: 'i % ROWS * 4u + s',
    to: '(s + i / 2u) % 4u',
    where: { TRANS_A: 0 },
  },
  {
    what: 'keeps terms past the last one',
    kernel: matmul,
    variant: 'subgroup-4x8',
    from: 'k + term >= K',
    to: 'k + term > K',
    where: { K: 17 },
  },
  {
    what: 'turns a block the wrong way',
    kernel: matmul,
    variant: 'shared-64x64',
    from: 'right[(4u * place + i) * WIDTH_QUADS + column] = vec4<scalar>(x[i])',
    to: 'right[(4u * place + i) * WIDTH_QUADS + column] = vec4<scalar>(x[3u - i])',
    where: { TRANS_B: 1 },
  },
  {
    what: 'drops the last tile of terms',
    kernel: matmul,
    variant: 'shared-64x64',
    from: 'k < K; k += TERMS',
    to: 'k + TERMS <= K; k += TERMS',
    where: { K: 17 },
  },
  {
    what: 'forgets one slice of the terms',
    kernel: matmul,
    variant: 'split-4x4',
    from: 'half > 0u',
    to: 'half > 1u',
    where: { K: 17 },
  },
  {
    what: 'takes the next expert for the last row of a tile',
    kernel: groupedMatmul,
    variant: 'vec4-4x4',
    from: 'end - 1u',
    to: 'R - 1u',
  },
  {
    what: 'leaves the rows of nobody as they are',
    kernel: groupedMatmul,
    variant: 'scalar-4x4',
    from: 'expert > E ||',
    to: 'expert >= E ||',
    where: { ACCUMULATE: 0 },
  },
  {
    what: 'drops the last row of each expert',
    kernel: groupedMatmulWeight,
    variant: 'vec4-4x4',
    from: 'r < end;',
    to: 'r + 1u < end;',
  },
  {
    what: 'drops the rows after the last four',
    kernel: columnSum,
    variant: 'scalar',
    from: 'r < R; r++',
    to: 'r < R / 4u * 4u; r++',
    where: { R: 65 },
  },
  {
    what: 'leaves the residual out',
    kernel: layerNormBackward,
    variant: 'vec4',
    from: 'd += residual[start + c]',
    to: 'd += Value(0.0)',
    where: { RESIDUAL: 1 },
  },
  {
    what: 'leaves the residual out',
    kernel: rmsNormBackward,
    variant: 'scalar',
    from: 'd += residual[start + c]',
    to: 'd += Value(0.0)',
    where: { RESIDUAL: 1 },
  },
  {
    what: 'adds two columns of four',
    kernel: rmsNorm,
    variant: 'vec4',
    from: '(a.x + a.y) + (a.z + a.w)',
    to: 'a.x + a.y',
  },
  {
    what: "puts the bias's gradient right behind the weight's",
    kernel: layerNormBackwardWeight,
    variant: 'vec4',
    from: 'dWeight[BIAS_AT / LANES + column] =',
    to: 'dWeight[WIDTH + column] =',
    where: { BIAS_AT: 320 },
  },
  {
    what: 'decays a quad too many',
    kernel: adamw,
    variant: 'vec4',
    from: 'i < DECAY_END',
    to: 'i <= DECAY_END',
    where: { DECAY_END: 640 },
  },
  {
    what: 'says nothing of a weight out of bounds',
    kernel: adamw,
    variant: 'vec4',
    from: 'flags[0] = 1u',
    to: 'flags[0] = 0u',
    where: { N: 68 },
  },
  {
    what: 'loses what fractions carry',
    kernel: squareBins,
    variant: 'quads',
    from: 'whole += fraction >> vec4<u32>(23u);',
    to: '',
    where: { N: 65536 },
  },
  {
    what: 'keeps one bin too few when the top rises',
    kernel: squareBins,
    variant: 'quads',
    from: 'vec4<u32>(0u, fraction.xyz)',
    to: 'vec4<u32>(0u, fraction.xy, 0u)',
  },
  {
    what: 'divides the source by one',
    kernel: gatherRows,
    variant: 'vec4',
    from: 'assignment / DIV',
    to: 'min(assignment, R / DIV - 1u)',
    where: { DIV: 3 },
  },
  {
    what: 'is not stable',
    kernel: moePermute,
    variant: 'thread-per-expert',
    from: 'slotOf[a] = select(row,',
    to: 'slotOf[A - 1u - a] = select(row,',
    where: { A: 63 },
  },
  {
    what: 'prefers the higher expert of a tie',
    kernel: routerTopK,
    variant: 'thread-per-row',
    from: 'x > best',
    to: 'x >= best',
    where: { N: 65 },
  },
  {
    what: 'forgets the other gates of the sum',
    kernel: routerBackward,
    variant: 'thread-per-row',
    from: 'mean = through / chosen',
    to: 'mean = 0.0',
    where: { N: 65 },
  },
];

/**
 * The kernel with only this variant, mutated in every place, and the cases that matter; under its own name, because
 * pipelines are cached by name.
 */
export function mutate({ what, kernel, variant: name, from, to, where = {} }: Defect): Kernel {
  const variant = kernel.variants.find((candidate) => candidate.name === name);
  if (!variant?.source.includes(from))
    throw new Error(
      `defect "${what}": ${kernel.name}/${name} does not contain "${from}"; edit the defect with the kernel`,
    );
  const cases = kernel.cases
    .filter((params) => Object.entries(where).every(([key, value]) => params[key] === value))
    .filter((params) => isSupported(variant, params, FEATURES));
  if (!cases.length) throw new Error(`defect "${what}": no case of ${kernel.name} runs it`);
  return {
    ...kernel,
    name: `${kernel.name} that ${what}`,
    variants: [{ ...variant, source: variant.source.replaceAll(from, to) }],
    cases,
  };
}
