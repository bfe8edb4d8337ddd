// The kernel contract, a case at a time, for a browser that a test drives.

import { createWebGpuDevice } from '../../src/device/webgpu.ts';
import { checkKernel, contractTarget } from '../support/kernel-contract.ts';
import type { ContractTarget } from '../support/kernel-contract.ts';
import { kernels } from '../support/kernels.ts';

const contract = {
  /** Kernels with their number of cases. */
  cases: kernels.map(({ name, cases }) => [name, cases.length] as const),
  /** What is wrong in one case; a device of its own, because one that met a compile error is spent. */
  async check(name: string, at: number): Promise<{ runs: number; failures: readonly string[] }> {
    const target: ContractTarget = await contractTarget((tuning) => createWebGpuDevice(navigator.gpu, { tuning }));
    try {
      const kernel = kernels.find((one) => one.name === name)!;
      return await checkKernel(target, kernel, [kernel.cases[at]!]);
    } finally {
      target.device.destroy();
    }
  },
};

declare global {
  interface Window {
    contract: typeof contract;
  }
}
window.contract = contract;
