// Four real tabs share the vocabulary of a pipeline over WebRTC, and learn what PyTorch did on one device.

import { test } from 'vitest';
import { expectGoldenInTabs } from '../support/golden-tabs.ts';
import { sample } from '../support/sample.ts';

const CASES = [
  ['alg2', 'wasm'],
  ['alg1', 'webgpu'],
  ['naive', 'wasm'],
  ['interlaced', 'wasm'],
] as const;

test.each(sample(CASES, 1))('%s on %s', (vocab, backend) =>
  expectGoldenInTabs(
    'gpt2-deep',
    [
      ['layout', 'pp=4'],
      ['vocab', vocab],
    ],
    () => ({ lane: 'webrtc', backend }),
  ),
);
