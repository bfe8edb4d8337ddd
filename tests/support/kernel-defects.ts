// Seeded defects: kernels broken on purpose, one text edit each, that the kernel contract must catch on a real adapter.

import { describe, expect, it } from 'vitest';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { matmul } from '../../shaders/matmul.ts';
import { checkKernel } from './kernel-contract.ts';
import type { ContractTarget } from './kernel-contract.ts';

interface Defect { readonly what: string; readonly kernel: Kernel; readonly variant: string; readonly from: string; readonly to: string; readonly where?: Params }

const DEFECTS: readonly Defect[] = [
  { what: 'drops the last k', kernel: matmul, variant: 'scalar-4x4', from: 'k < K;', to: 'k < K - 1u;' },
  { what: 'drops the last quad of k', kernel: matmul, variant: 'vec4-4x4', from: 'k < K / 4u;', to: 'k < K / 4u - 1u;' },
  { what: 'reads b as if it were not transposed', kernel: matmul, variant: 'vec4-8x8', from: 'if (TRANS_B == 1u)', to: 'if (TRANS_B == 2u)', where: { TRANS_B: 1 } },
  { what: 'swaps two components when it turns a', kernel: matmul, variant: 'vec4-8x8', from: 'vec4(r0.y, r1.y, r2.y, r3.y)', to: 'vec4(r0.y, r2.y, r1.y, r3.y)', where: { TRANS_A: 1 } },
  { what: 'writes instead of accumulating', kernel: matmul, variant: 'scalar-4x4', from: 'v += out[at]', to: 'v += 0.0', where: { ACCUMULATE: 1 } },
  { what: 'adds the residual before the activation', kernel: matmul, variant: 'scalar-4x4', from: 'v = activate(v);', to: 'v = activate(v + f32(RESIDUAL) * residual[at]) - f32(RESIDUAL) * residual[at];', where: { RESIDUAL: 1 } },
  { what: 'adds an edge twice', kernel: matmul, variant: 'scalar-4x4', from: 'acc[i * TILE_N + j] = v;', to: 'out[at] = v; acc[i * TILE_N + j] = v;', where: { ACCUMULATE: 1 } },
  { what: 'shares batch 0 of a', kernel: matmul, variant: 'vec4-4x4', from: 'batch * (A_BATCH / 4u)', to: '0u', where: { BATCH: 5 } },
];

/** The kernel with only this variant, mutated in every place, and the cases that matter; under its own name, because pipelines are cached by name. */
export function mutate({ what, kernel, variant: name, from, to, where = {} }: Defect): Kernel {
  const variant = kernel.variants.find((candidate) => candidate.name === name);
  if (!variant?.source.includes(from)) throw new Error(`defect "${what}": ${kernel.name}/${name} does not contain "${from}"; edit the defect with the kernel`);
  const cases = kernel.cases.filter((params) => Object.entries(where).every(([key, value]) => params[key] === value)).filter((params) => !variant.supports || variant.supports(params, { subgroupSize: 0, f16: false, maxWorkgroupStorageBytes: 16384, maxInvocations: 256 }));
  return { ...kernel, name: `${kernel.name} that ${what}`, variants: [{ ...variant, source: variant.source.replaceAll(from, to) }], cases };
}

export function describeDefects(target: () => ContractTarget): void {
  describe('the contract catches', () => {
    for (const defect of DEFECTS) {
      it(`${defect.kernel.name} that ${defect.what}`, async () => {
        const broken = mutate(defect);
        let caught = 0;
        for (const params of broken.cases) {
          caught += (await checkKernel(target(), broken, [params])).failures.length;
          if (caught) break;
        }
        expect(caught).toBeGreaterThan(0);
      });
    }
  });
}
