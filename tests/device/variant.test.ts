// Which variant runs without measuring: the guess for the adapter, precision only where it is allowed, and never what
// the adapter lacks.

import { expect, test } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { DeviceFeatures } from '../../src/device/kernel.ts';
import { chooseVariant, constantsOf, supportedVariants } from '../../src/device/variant.ts';
import { matmul } from '../../shaders/matmul/matmul.ts';

const cpu = createCpuDevice().features;
const GPU: DeviceFeatures = { ...cpu, software: false, subgroupSize: 32, f16: true };
const product = (M: number, N: number, K: number) => ({ ...matmul.cases[0], M, N, K });
const named = (features: DeviceFeatures, M: number, N: number, K: number): string =>
  chooseVariant(matmul, product(M, N, K), features).variant.name;

test.each([
  ['a large product on a GPU', GPU, 4096, 4096, 4096, 'shared-vec4-128x128'],
  ['the same with odd sizes', GPU, 4095, 4095, 4095, 'shared-128x128'],
  ['a product with a vector on a GPU', GPU, 1, 512, 4096, 'split-1x4'],
  ['few outputs with many terms', GPU, 64, 64, 8192, 'split-4x4'],
  [
    'a large product where f16 is allowed',
    { ...GPU, reducedPrecision: true },
    4096,
    4096,
    4096,
    'shared-f16-vec4-128x128',
  ],
  [
    'the same where the adapter has no f16',
    { ...GPU, reducedPrecision: true, f16: false },
    4096,
    4096,
    4096,
    'shared-vec4-128x128',
  ],
  ['subgroups of 4 on a CPU', { ...cpu, subgroupSize: 4 }, 512, 512, 512, 'subgroup-vec4-16x16'],
  ['subgroups of 8 on a CPU', { ...cpu, subgroupSize: 8 }, 512, 512, 512, 'subgroup-vec4-32x4'],
  ['odd sizes there', { ...cpu, subgroupSize: 8 }, 257, 129, 385, 'registers-8x8'],
  ['a CPU without subgroups', cpu, 512, 512, 512, 'registers-vec4-8x8'],
] as const)('%s', (_what, features, M, N, K, expected) => {
  expect(named(features, M, N, K)).toBe(expected);
});

test('a variant of lower precision is no candidate unless it is allowed', () => {
  const halves = (features: DeviceFeatures): number =>
    supportedVariants(matmul, product(512, 512, 512), features).filter(({ tolerance }) => tolerance !== undefined)
      .length;
  expect(halves(GPU)).toBe(0);
  expect(halves({ ...GPU, reducedPrecision: true })).toBeGreaterThan(0);
});

test.each([4, 8, 16, 32, 64])('a text for subgroups of %i learns their size', (subgroupSize) => {
  const variant = matmul.variants.find(({ name }) => name === 'subgroup-vec4-16x8')!;
  const constants = constantsOf(variant, product(512, 512, 512), { ...GPU, subgroupSize });
  expect(constants['SUBGROUP']).toBe(subgroupSize);
  expect(variant.grid(product(512, 512, 512), constants)).toEqual([Math.ceil(512 / (8 * subgroupSize)), 32, 1]);
});
