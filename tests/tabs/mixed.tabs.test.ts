// A tab on WebGPU and one on WebAssembly train together, over WebRTC, and learn what PyTorch did on one device.

import { test } from 'vitest';
import { expectGoldenInTabs } from '../support/golden-tabs.ts';
import { sample } from '../support/sample.ts';

test.each(sample(['pp=2', 'dp=2', 'tp=2'], 1))('WebGPU and WebAssembly in %s', (layout) =>
  expectGoldenInTabs('gpt2-tiny', [['layout', layout]], (tab) => ({
    lane: 'webrtc',
    backend: tab === 0 ? 'webgpu' : 'wasm',
  })),
);
