// The kernel contract on WebAssembly in Chromium, whose engine takes the build with fused multiply-adds.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createWasmDevice } from '../../src/device/wasm.ts';
import { checkKernel, contractTarget } from '../support/kernel-contract.ts';
import type { ContractTarget } from '../support/kernel-contract.ts';
import { kernels } from '../support/kernels.ts';
import { wasmCases } from '../support/wasm-cases.ts';

let target: ContractTarget;
beforeAll(async () => {
  target = await contractTarget(() => createWasmDevice());
});
afterAll(() => target.device.destroy());

it('Chromium fuses multiply-adds', () => {
  expect(target.device.adapter.architecture).toBe('wasm-relaxed-simd');
});

describe('kernels in WebAssembly equal their references in Chromium', () => {
  for (const kernel of kernels) {
    it(kernel.name, async () => {
      expect((await checkKernel(target, kernel, wasmCases(kernel))).failures).toEqual([]);
    });
  }
});
