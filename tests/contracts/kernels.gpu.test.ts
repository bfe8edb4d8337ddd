// The kernel contract in Node, on Dawn.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';
import { checkKernel, contractTarget } from '../support/kernel-contract.ts';
import type { ContractTarget } from '../support/kernel-contract.ts';
import { kernels } from '../support/kernels.ts';
import { describeDefects } from '../support/kernel-defects.ts';

let target: ContractTarget;

beforeAll(async () => {
  const gpu = await nodeGpu();
  // Throws when there is no adapter: this suite is never green because it skipped.
  target = await contractTarget((tuning) => createWebGpuDevice(gpu, { tuning }));
  const { vendor, architecture, description } = target.device.adapter;
  process.stderr.write(`kernel contract on ${vendor} ${architecture} ${description}\n`);
});

afterAll(() => target?.device.destroy());

describe('kernels equal their references on Dawn', () => {
  it('has an adapter', () => expect(target.device.adapter.description + target.device.adapter.vendor).not.toBe(''));

  for (const kernel of kernels) {
    it(kernel.name, async () => {
      const report = await checkKernel(target, kernel);
      expect(report.failures).toEqual([]);
      expect(report.runs).toBeGreaterThanOrEqual(kernel.cases.length);
    });
  }
});

describeDefects(() => target);
