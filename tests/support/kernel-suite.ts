// The kernel contract as a suite, the same in Node on Dawn and in a browser: every kernel of shaders/, then the seeded
// defects. `shareOf`: one case and one defect of so many, others in each run; where the same compiler and driver run
// all of them elsewhere. A device per test, because a device that met a compile error is spent. Fails, and never skips,
// where there is no adapter.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';
import { checkKernel, contractTarget } from './kernel-contract.ts';
import type { ContractTarget } from './kernel-contract.ts';
import { DEFECTS, mutate } from './kernel-defects.ts';
import { kernels } from './kernels.ts';

export function describeKernels(
  where: string,
  findGpu: () => GPU | undefined | Promise<GPU | undefined>,
  say: (line: string) => void,
  shareOf = 1,
): void {
  let target: ContractTarget;
  // Other inputs in each run; a failure names the seed, to be written here in its place.
  const seed = Math.floor(Math.random() * 2 ** 31);
  const drawn = <T>(all: readonly T[], least: number): readonly T[] => {
    const first = seed % shareOf;
    const some = all.filter((_, i) => i % shareOf === first);
    return some.length < least ? all.slice(0, least) : some;
  };

  beforeEach(async () => {
    const gpu = await findGpu();
    target = await contractTarget((tuning) => createWebGpuDevice(gpu, { tuning }));
  });
  afterEach(() => target.device.destroy());

  it(`${where} has an adapter`, () => {
    const { vendor, architecture, description, software } = target.device.adapter;
    say(`kernel contract in ${where} on ${vendor} ${architecture} ${description}${software ? ' (software)' : ''}`);
    expect(`${vendor}${description}`).not.toBe('');
  });

  describe(`kernels equal their references in ${where}`, () => {
    for (const kernel of kernels) {
      it(kernel.name, async () => {
        const cases = drawn(kernel.cases, 1);
        const report = await checkKernel(target, kernel, cases, seed);
        expect(report.failures, `seed ${seed}`).toEqual([]);
        expect(report.runs).toBeGreaterThanOrEqual(cases.length);
      });
    }
  });

  describe(`the contract in ${where} catches`, () => {
    for (const defect of drawn(DEFECTS, 1)) {
      it(`${defect.kernel.name} that ${defect.what}`, async () => {
        const broken = mutate(defect);
        let caught = 0;
        for (const params of broken.cases) {
          caught += (await checkKernel(target, broken, [params])).failures.length;
          if (caught) break;
        }
        expect(caught).toBeGreaterThan(0);
      });
    }
  });
}
