// Qualification on Dawn: it tunes and checks on a real driver, and never lets a wrong variant run.

import { afterAll, expect, test } from 'vitest';
import { DeviceLostError, SelfCheckError } from '../../src/base/errors.ts';
import { realWorld } from '../../src/base/world.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import type { Kernel, Variant } from '../../src/device/kernel.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { samePick } from '../../src/device/tune/certificate.ts';
import type { Certificate } from '../../src/device/tune/certificate.ts';
import { Qualifier } from '../../src/device/tune/qualifier.ts';
import { chooseVariant } from '../../src/device/variant.ts';
import { createWebGpuDevice, deviceOf, openGpu } from '../../src/device/webgpu.ts';
import { matmul } from '../../shaders/matmul/matmul.ts';
import { PATIENCE_MS, scaledLimit } from '../support/patience.ts';

const context = await openGpu(await nodeGpu());
afterAll(() => context.device.destroy());

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
const shapes = [
  { ...plain, M: 256, N: 256, K: 64 },
  { ...plain, TRANS_B: 1, M: 64, N: 64, K: 64 },
];

test('tunes matmul on two shapes and chooses what was measured and right', async () => {
  const kernel: Kernel = matmul;
  const qualifier = new Qualifier({
    world: realWorld,
    version: 'test',
    tuneMs: scaledLimit(1500),
    checkMs: PATIENCE_MS,
  });
  const device = deviceOf(context, { qualifier });
  const certificate = await device.qualify!(shapes.map((params) => ({ kernel, params, count: 1 })));
  expect(certificate.decisions.length).toBeGreaterThan(0);
  for (const decision of certificate.decisions) {
    expect(decision.candidates.some((one) => samePick(one, decision))).toBe(true);
    expect(decision.refused.some((one) => samePick(one, decision))).toBe(false);
    expect(chooseVariant(kernel, decision.params, device.features, qualifier.choose).variant.name).toBe(
      decision.variant,
    );
  }
  expect(certificate.checks.every(({ error }) => error <= 1)).toBe(true);
  expect(certificate.unchecked).toEqual([]);
  device.destroy();
  expect(device.memory.staging.now).toBe(0);
});

/** out[i] = x[i] + 1, one thread per element; `repeat` makes it slow. */
const right = (repeat: number): string => `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
const N: u32 = 1u;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= N) { return; }
  var sum = 0.0;
  for (var i = 0u; i < ${repeat}u; i++) { sum += x[(id.x + i) % N]; }
  out[id.x] = x[id.x] + 1.0 + 0.0 * sum;
}`;

/**
 * The same, plus what lane 0 of a subgroup has less what it should have: right only if a subgroup has SUBGROUP lanes.
 */
const grouped = `enable subgroups;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
const N: u32 = 1u;
const SUBGROUP: u32 = 4u;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let mine = x[min(id.x, N - 1u)];
  let first = subgroupBroadcast(mine, 0u);
  if (id.x < N) { out[id.x] = mine + 1.0 + first - x[id.x / SUBGROUP * SUBGROUP]; }
}`;

function plusOne(name: string, variants: readonly Variant[]): Kernel {
  return defineKernel({
    name,
    bindings: { x: 'read', out: 'read_write' },
    params: { N: 'elements' },
    variants,
    cost: ({ N }) => ({ flops: N, bytes: 8 * N }),
    reference({ x, out }, { N }) {
      for (let i = 0; i < N; i++) out[i] = x[i] + 1;
    },
    sizes: ({ N }) => ({ x: N, out: N }),
    cases: [{ N: 1 }, { N: 65 }],
  }) as unknown as Kernel;
}

const grid: Variant['grid'] = ({ N }) => [Math.ceil(N / 64), 1, 1];
const slow: Variant = { name: 'slow', source: right(50), grid };
const wrong: Variant = { name: 'wrong', source: right(1).replace('+ 1.0', '+ 1.1'), grid };
const nan: Variant = { name: 'nan', source: right(1).replace('0.0 * sum', 'sqrt(-1.0 - abs(sum))'), grid };

async function qualify(
  kernel: Kernel,
  tuneMs: number,
  subgroupSize = context.features.subgroupSize,
): Promise<{ certificate: Certificate; chosen: string }> {
  const features = { ...context.features, subgroupSize };
  const qualifier = new Qualifier({
    world: realWorld,
    version: 'test',
    tuneMs: tuneMs && scaledLimit(tuneMs),
    checkMs: PATIENCE_MS,
  });
  const device = deviceOf({ ...context, features }, { qualifier });
  try {
    const certificate = await device.qualify!([{ kernel, params: { N: 1000 }, count: 1 }]);
    return { certificate, chosen: chooseVariant(kernel, { N: 1000 }, features, qualifier.choose).variant.name };
  } finally {
    device.destroy();
  }
}

test.each([500, 0])('what is faster but wrong, or no number, is refused with %i ms to tune', async (tuneMs) => {
  for (const bad of [wrong, nan]) {
    const { certificate, chosen } = await qualify(plusOne(`plus one ${bad.name} ${tuneMs}`, [bad, slow]), tuneMs);
    expect(certificate.refused.map(({ variant }) => variant)).toEqual([bad.name]);
    expect(chosen).toBe('slow');
  }
});

test('if all variants are wrong the device may not join, and says why', async () => {
  const kernel = plusOne('plus one', [wrong, nan]);
  await expect(qualify(kernel, 500)).rejects.toThrow(SelfCheckError);
  await expect(qualify(kernel, 0)).rejects.toThrow(
    /computes plus one wrongly in every variant \(wrong: its result is .* off; nan: .* no numbers\)/,
  );
});

test('an adapter that lies about its subgroup size runs no variant that depends on it', async () => {
  const { subgroupSize } = context.features;
  // Both software drivers have subgroups; without them there would be nothing to lie about.
  expect(subgroupSize).toBeGreaterThan(0);
  const variants = [{ name: 'subgroups', source: grouped, grid, needs: ['subgroups'] as const }, slow];
  expect((await qualify(plusOne('plus one, honest', variants), 0)).chosen).toBe('subgroups');
  for (const tuneMs of [500, 0]) {
    const { certificate, chosen } = await qualify(plusOne('plus one, lied to', variants), tuneMs, 2 * subgroupSize);
    expect(certificate.refused).toMatchObject([{ variant: 'subgroups' }]);
    expect(chosen).toBe('slow');
  }
});

test('a device that is lost while it measures says so', async () => {
  const device = await createWebGpuDevice(await nodeGpu(), {
    qualifier: new Qualifier({ world: realWorld, version: 'test', tuneMs: PATIENCE_MS }),
  });
  const time = device.time!.bind(device);
  let measurements = 0;
  // Lost while its second measurement is under way.
  Object.defineProperty(device, 'time', {
    value: (...args: Parameters<typeof time>) => {
      const running = time(...args);
      if (++measurements === 2) device.destroy();
      return running;
    },
  });
  await expect(device.qualify!(shapes.map((params) => ({ kernel: matmul, params, count: 1 })))).rejects.toThrow(
    DeviceLostError,
  );
  expect(measurements).toBe(2);
});
