// The kernel contract on WebAssembly, in Node: it gives what the references give, reads nothing beyond its arrays, and
// writes nothing else. Seeded defects of its kernels are caught.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spawnNodeThread } from '../../src/cli/machine/node-thread.ts';
import { createWasmDevice } from '../../src/device/wasm.ts';
import { compileKernels, kernelSources } from '../../src/device/wasm/plugin.mjs';
import { checkKernel, contractTarget } from '../support/kernel-contract.ts';
import type { ContractTarget } from '../support/kernel-contract.ts';
import { kernels } from '../support/kernels.ts';
import { wasmCases } from '../support/wasm-cases.ts';
import { defectGroups, mutateSources } from '../support/wasm-defects.ts';
import type { WasmDefect } from '../support/wasm-defects.ts';

const sources = kernelSources();

let target: ContractTarget;
beforeAll(async () => {
  target = await contractTarget(() => createWasmDevice());
});
afterAll(() => target.device.destroy());

describe('kernels in WebAssembly equal their references', () => {
  for (const kernel of kernels) {
    it(kernel.name, async () => {
      const report = await checkKernel(target, kernel, wasmCases(kernel));
      expect(report.failures).toEqual([]);
      expect(report.runs).toBe(wasmCases(kernel).length);
    });
  }
});

describe('the contract in WebAssembly catches', () => {
  for (const group of defectGroups(sources)) {
    const nameOf = ({ kernel, what }: WasmDefect): string => `${kernel.name} that ${what}`;
    it(group.map(nameOf).join(', '), async () => {
      const threads = group[0]!.threads ?? 1;
      const bytes = await compileKernels(
        threads > 1 ? 'plain-shared' : 'plain',
        undefined,
        mutateSources(sources, group),
      );
      const module = await WebAssembly.compile(Uint8Array.from(bytes));
      const broken = await contractTarget(() =>
        createWasmDevice({
          threads,
          spawn: spawnNodeThread,
          leastSharedWork: 0,
          build: async () => ({ module, relaxed: false }),
        }),
      );
      const missed: string[] = [];
      for (const defect of group) if (!(await isCaught(broken, defect))) missed.push(nameOf(defect));
      broken.device.destroy();
      expect(missed).toEqual([]);
    });
  }
});

/** A wrong result, a write outside the arrays or a trap. */
async function isCaught(broken: ContractTarget, { kernel }: WasmDefect): Promise<boolean> {
  for (const params of wasmCases(kernel)) {
    try {
      if ((await checkKernel(broken, kernel, [params])).failures.length) return true;
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError || /was written at byte/.test(String(error))) return true;
      throw error;
    }
  }
  return false;
}
