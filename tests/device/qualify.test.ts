// The tuner and the self-check on a device with a clock of its own: what is measured decides, what is wrong never runs, and a store costs nothing but time.

import { expect, test } from 'vitest';
import { DeviceLostError, SelfCheckError } from '../../src/base/errors.ts';
import { chooseVariant } from '../../src/device/variant.ts';
import { Qualifier } from '../../src/device/tune/qualifier.ts';
import type { QualifierOptions } from '../../src/device/tune/qualifier.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { explain, summary } from '../../src/device/tune/certificate.ts';
import type { Certificate } from '../../src/device/tune/certificate.ts';
import { ClockWorld, fakeDevice, fakeKernel } from '../support/fake-device.ts';

const PARAMS = { N: 1000, FACTOR: 2 };

function bench(options: Partial<QualifierOptions> = {}) {
  const world = new ClockWorld();
  const qualifier = new Qualifier({ world, version: 'test', tuneMs: 2000, ...options });
  const device = fakeDevice(world, qualifier);
  const qualify = (kernel: Kernel, params: Params = PARAMS): Promise<Certificate> => device.qualify!([{ kernel, params, count: 1 }]);
  const chosen = (kernel: Kernel, params: Params = PARAMS): string => chooseVariant(kernel, params, device.features, qualifier.choose).variant.name;
  return { world, device, qualifier, qualify, chosen };
}

test('the fastest right variant runs, and says why', async () => {
  const kernel = fakeKernel({ slow: { runMs: 9 }, middle: { runMs: 6 }, quick: { runMs: 3 } });
  const { qualify, chosen } = bench();
  const certificate = await qualify(kernel);
  expect(chosen(kernel)).toBe('quick');
  expect(explain(certificate.decisions[0])).toBe("fake takes quick (3.00 ms by the wall clock) instead of slow (9.00 ms by the wall clock): 3.00 times as fast.");
  expect(summary(certificate)).toContain('tuned 1 shapes');
});

test('a variant that is faster but wrong is refused', async () => {
  for (const wrong of ['off', 'nan', 'compile'] as const) {
    const kernel = fakeKernel({ slow: { runMs: 9 }, quick: { runMs: 3, wrong } });
    const { qualify, chosen } = bench();
    const certificate = await qualify(kernel);
    expect(chosen(kernel)).toBe('slow');
    expect(certificate.refused).toHaveLength(1);
    expect(certificate.refused[0]).toMatchObject({ kernel: 'fake', variant: 'quick' });
    expect(explain(certificate.decisions[0])).toContain('quick was refused');
  }
});

test.each([0, 2000])('a wrong default falls back to what is right (%i ms to tune)', async (tuneMs) => {
  const kernel = fakeKernel({ wrong: { runMs: 1, wrong: 'off' }, right: { runMs: 9 } });
  const { qualify, chosen, device } = bench({ tuneMs });
  const certificate = await qualify(kernel);
  expect(chosen(kernel)).toBe('right');
  expect(certificate.refused[0].reason).toMatch(/times the allowed error/);
  expect(certificate.checks.map(({ variant }) => variant)).toEqual(['right']);
  expect(device.memory.staging.now).toBe(0);
});

test.each([0, 2000])('if all are wrong the device may not join (%i ms to tune)', async (tuneMs) => {
  const kernel = fakeKernel({ one: { runMs: 1, wrong: 'off' }, two: { runMs: 9, wrong: 'nan' } });
  const { qualify, qualifier } = bench({ tuneMs });
  const error = await qualify(kernel).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SelfCheckError);
  expect((error as SelfCheckError).message).toMatch(/^self-check: this adapter computes fake wrongly in every variant \(one: .*times the allowed error off; two: .*no numbers\); update/);
  expect((error as SelfCheckError).reasons).toHaveProperty('two');
  // The next caller's turn comes all the same.
  const other = fakeKernel({ fine: { runMs: 1 } }, {}, 'other');
  expect((await qualifier.qualify(fakeDevice(new ClockWorld()), [{ kernel: other, params: PARAMS, count: 1 }])).checks).toHaveLength(1);
});

test('a device that is lost in the middle says so', async () => {
  const { qualify } = bench();
  await expect(qualify(fakeKernel({ slow: { runMs: 9 }, bad: { runMs: 3, wrong: 'lost' } }))).rejects.toThrow(DeviceLostError);
});

test('the time is kept: nothing is compiled after it, and most work comes first', async () => {
  const variants = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`v${i}`, { runMs: 5, compileMs: 300 }]));
  const [big, small] = [fakeKernel(variants, {}, 'big'), fakeKernel(variants, {}, 'small')];
  const { qualifier, device, world } = bench({ tuneMs: 1000 });
  const startMs = world.now();
  const certificate = await qualifier.qualify(device, [{ kernel: small, params: { N: 1000, FACTOR: 2 }, count: 1 }, { kernel: big, params: { N: 9000, FACTOR: 2 }, count: 9 }]);
  expect(device.compiled.filter((name) => name.startsWith('big')).length).toBeGreaterThan(1);
  expect(certificate.decisions.map(({ kernel, complete }) => [kernel, complete])).toEqual([['big', false]]);
  // The budget, one compile and its measurement over it, and the default of the small one.
  expect(world.now() - startMs).toBeLessThan(1000 + 400 + 400);
});

test('a candidate that is far too slow is measured once', async () => {
  const kernel = fakeKernel({ quick: { runMs: 10 }, awful: { runMs: 500 } });
  const { qualify, world, chosen } = bench();
  const startMs = world.now();
  const { decisions: [{ candidates }] } = await qualify(kernel);
  expect(candidates[1]).toMatchObject({ variant: 'awful', abandoned: true, samples: 1 });
  expect(world.now() - startMs).toBeLessThan(1200);
  expect(chosen(kernel)).toBe('quick');
});

test('timestamps decide only where the wall clock does not contradict them', async () => {
  const lying = fakeKernel({ honest: { runMs: 5, gpuMs: 4 }, liar: { runMs: 9, gpuMs: 0.5 } });
  const zero = fakeKernel({ slow: { runMs: 5, gpuMs: 0 }, quick: { runMs: 3, gpuMs: 0 } });
  const clear = fakeKernel({ slow: { runMs: 5, gpuMs: 4 }, quick: { runMs: 4.9, gpuMs: 1 } });
  for (const [kernel, variant, clock] of [[lying, 'honest', 'gpu'], [zero, 'quick', 'wall'], [clear, 'quick', 'gpu']] as const) {
    const { qualify, chosen } = bench();
    const { decisions: [{ candidates }] } = await qualify(kernel);
    expect(chosen(kernel)).toBe(variant);
    expect(candidates.map((one) => one.clock)).toEqual([clock, clock]);
  }
});
