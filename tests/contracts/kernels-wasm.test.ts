// The kernel contract on WebAssembly, in Node: both builds give what the references give, read nothing beyond their
// arrays, and write nothing else.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { embeddingLinks } from '../../shaders/embedding/embedding-links.ts';
import { createWasmDevice } from '../../src/device/wasm.ts';
import { checkKernel, contractTarget } from '../support/kernel-contract.ts';
import type { ContractTarget } from '../support/kernel-contract.ts';
import { kernels } from '../support/kernels.ts';

let target: ContractTarget;
beforeAll(async () => {
  target = await contractTarget(() => createWasmDevice());
});
afterAll(() => target.device.destroy());

describe('kernels in WebAssembly equal their references', () => {
  for (const kernel of kernels) {
    it(kernel.name, async () => {
      const report = await checkKernel(target, kernel);
      expect(report.failures).toEqual([]);
      expect(report.runs).toBe(kernel.cases.length);
    });
  }
});

it('ids that fill more than one table are linked across tables', async () => {
  const report = await checkKernel(target, embeddingLinks, [{ R: 140_000 }]);
  expect(report.failures).toEqual([]);
});
