// The kernels of elementwise functions, norms, embedding, rope, loss and AdamW against PyTorch's golden cases, on any
// device.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { recipes, runOn } from '../support/golden-kernels.ts';
import type { RunKernel } from '../support/golden-kernels.ts';
import { goldenCases, goldenDifference } from '../support/torch-golden.ts';
import type { GoldenCase } from '../support/torch-golden.ts';

/** Differences of one case, one sentence per output or gradient; outputs that the recipe does not compute count. */
async function differences(golden: GoldenCase, run: RunKernel): Promise<string[]> {
  const got = await recipes[golden.op](golden, run);
  return Object.entries(golden.wanted).flatMap(([name, wanted]) => {
    const text = got[name] ? goldenDifference(wanted, got[name]) : ' is not computed';
    return text ? [`${golden.name}: ${name}${text}`] : [];
  });
}

/** One wrong param each: kernel, what it becomes, and a case that must notice. */
const DEFECTS: readonly (readonly [kernel: string, change: Readonly<Record<string, number>>, golden: string])[] = [
  // Inputs of +-100 make the allowed error of gelu's values larger than the difference of its two forms; the gradients
  // tell them apart.
  ['geluBackward', { TANH: 0 }, 'gelu_tanh'],
  ['geluBackward', { TANH: 1 }, 'gelu_erf'],
  ['layerNorm', { EPS: 1.1e-5 }, 'layernorm_tiny_var'],
  ['rmsNorm', { EPS: 1e-4 }, 'rmsnorm_8x32'],
  ['rope', { INTERLEAVED: 1 }, 'rope_half'],
  ['rope', { INVERSE: 0 }, 'rope_half'],
  ['ceStats', { MERGE: 0 }, 'ce_v1000'],
  ['ceStats', { VOCAB: 8 }, 'ce_v7'],
  ['ceGrad', { SMOOTHING: 0 }, 'ce_v1000_smooth'],
  ['addPositionBackward', { T: 19 }, 'embedding'],
  ['adamw', { DECAY_END: 0 }, 'adamw'],
];

export function describeGolden(title: string, open: () => Promise<Device>): void {
  describe(title, () => {
    const cases = goldenCases(Object.keys(recipes));
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(() => device?.destroy());

    it('has cases of every op', () =>
      expect(new Set(cases.map(({ op }) => op))).toEqual(new Set(Object.keys(recipes))));
    for (const golden of cases)
      it(golden.name, async () => expect(await differences(golden, runOn(device))).toEqual([]));

    for (const [name, change, caseName] of DEFECTS) {
      it(`${caseName} catches ${name} with ${JSON.stringify(change)}`, async () => {
        const right = runOn(device);
        const wrong: RunKernel = (kernel, io, params) =>
          right(kernel, io, kernel.name === name ? { ...params, ...change } : params);
        expect(
          await differences(
            cases.find((golden) => golden.name === caseName)!,
            wrong,
          ),
        ).not.toEqual([]);
      });
    }
  });
}
