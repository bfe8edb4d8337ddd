// Four real tabs share the vocabulary of a pipeline over WebRTC, and learn what PyTorch did on one device.

import { expect, test } from 'vitest';
import { execute } from '../../src/cli/execution.ts';
import { verifyRunFolder } from '../../src/cli/verify/run-folder.ts';
import { goldenModel } from '../support/local-run.ts';
import { sample } from '../support/sample.ts';

test.each(
  sample(
    [
      ['alg2', 'wasm'],
      ['alg1', 'webgpu'],
      ['naive', 'wasm'],
      ['interlaced', 'wasm'],
    ] as const,
    1,
  ),
)('%s on %s', async (vocab, backend) => {
  const settings = [
    ['layout', 'pp=4'],
    ['vocab', vocab],
  ] as const;
  const checks = await verifyRunFolder(goldenModel('gpt2-deep'), settings, async (config, files) => {
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
      parts: () => ({ lane: 'webrtc', backend }),
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
});
