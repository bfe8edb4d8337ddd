// TensorFlow.js and tabmesh train the same model in the same way on Dawn: the condition under which their times may be
// compared.

import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { benchStep, stepConfig } from '../../src/bench/gpt2/step.ts';
import type { StepMeasured } from '../../src/bench/gpt2/step.ts';
import { loadTensorFlow } from '../../src/cli/bench/peers-node.ts';
import { tfjsRunner } from '../../src/bench/gpt2/tfjs-gpt2.ts';
import type { TensorFlow } from '../../src/bench/peers/tfjs.ts';

const TEXT = 'it is not down in any map; true places never are. '.repeat(20);
// Large rates, so that every part of the update shows in the third loss.
const config = stepConfig([
  ['data', 'text.txt'],
  ['batch', 2],
  ['context', 8],
  ['lr', 0.01],
  ['weightDecay', 5],
]);
let tf: TensorFlow;
let device: Device;

beforeAll(async () => {
  tf = await loadTensorFlow();
  device = await createWebGpuDevice(await nodeGpu());
});
afterAll(() => device.destroy());

function measure(peerChange: Partial<typeof config>): Promise<StepMeasured> {
  return benchStep({
    device,
    config,
    files: { text: TEXT },
    rounds: 1,
    peers: [{ library: 'tfjs', make: (own, prepared) => tfjsRunner(tf, { ...own, ...peerChange }, prepared) }],
  });
}

it('the losses of the first steps agree', async () => {
  const before = tf.memory().numTensors;
  const {
    results: [own, peer],
    ratios,
  } = await measure({});
  peer.losses.forEach((loss, step) => expect(Math.abs(loss - own.losses[step]), `step ${step}`).toBeLessThan(1e-4));
  expect([own.correct, peer.correct]).toEqual([true, true]);
  expect(peer).toMatchObject({ library: 'tfjs', readbacks: 1, shape: own.shape });
  expect(peer.launches).toBeGreaterThan(own.launches!);
  expect(ratios['tfjs']).toHaveLength(1);
  expect(tf.memory().numTensors).toBe(before);
});

it.each([
  ['no weight decay', { weightDecay: 0 }],
  ['another beta', { betas: [0.9, 0.5] as const }],
])('a peer with %s is found out', async (_, change) => {
  const { results } = await measure(change);
  expect(results.map(({ correct }) => correct)).toEqual([false, false]);
});
