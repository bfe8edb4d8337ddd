// A golden run in real tabs: what they learn is compared with what PyTorch did on one device.

import { expect } from 'vitest';
import { execute } from '../../src/cli/execution.ts';
import type { Execution } from '../../src/cli/execution.ts';
import { verifyRunFolder } from '../../src/cli/verify/run-folder.ts';
import { goldenModel } from './local-run.ts';

/** `parts`: what the link of each tab says. */
export async function expectGoldenInTabs(
  name: string,
  settings: readonly (readonly [string, string])[],
  parts: NonNullable<Execution['parts']>,
): Promise<void> {
  const checks = await verifyRunFolder(goldenModel(name), settings, async (config, files) => {
    const found = {
      losses: [] as number[],
      gradNorms: [] as number[],
      gradients: new Uint8Array(),
      weights: new Uint8Array(),
    };
    await execute({
      backend: 'chromium',
      mode: 'tabs',
      config,
      files,
      wantGradients: true,
      wantModel: true,
      parts,
      onEvent: (rank, event) => {
        if (rank !== 0) return;
        if (event.kind === 'step') {
          found.losses.push(event.metrics.loss);
          found.gradNorms.push(event.metrics.gradNorm);
        } else if (event.kind === 'gradients') found.gradients = event.bytes;
        else if (event.kind === 'model') found.weights = event.bytes;
      },
    });
    return found;
  });
  expect(checks.length).toBeGreaterThan(50);
  expect(checks.filter(({ passed }) => !passed)).toEqual([]);
}
