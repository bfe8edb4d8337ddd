// Training on a device that was checked and tuned: the losses are those of an untuned one, and nothing is compiled
// inside the training loop.

import { expect, test } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { Qualifier } from '../../src/device/tune/qualifier.ts';
import type { Certificate } from '../../src/device/tune/certificate.ts';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { runRank } from '../../src/train/run.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import { goldenConfig, goldenModel } from '../support/local-run.ts';
import { scaledLimit } from '../support/patience.ts';

const MODEL = 'gpt2-tiny';

async function losses(config: RunConfig): Promise<{ losses: number[]; certificates: Certificate[] }> {
  const losses: number[] = [];
  const certificates: Certificate[] = [];
  await runInProcess({
    backend: 'node',
    config,
    files: readRunFiles(goldenModel(MODEL)),
    onEvent: (rank, event) => {
      if (event.kind === 'step' && rank === 0) losses.push(event.metrics.loss);
      if (event.kind === 'certificate') certificates.push(event.certificate);
    },
  });
  return { losses, certificates };
}

test('the losses of a tuned run are those of an untuned one', async () => {
  const plain = await losses(goldenConfig(MODEL, 'tp=2'));
  const tuned = await losses(goldenConfig(MODEL, 'tp=2', { tune: scaledLimit(1) }));
  expect(plain.certificates).toEqual([]);
  expect(tuned.certificates).toHaveLength(2);
  const { checks, refused, decisions } = tuned.certificates[1];
  expect(checks.length).toBeGreaterThan(5);
  expect(refused).toEqual([]);
  expect(decisions.length).toBeGreaterThan(0);
  tuned.losses.forEach((loss, step) =>
    expect(Math.abs(loss - plain.losses[step])).toBeLessThan(1e-5 * plain.losses[step]),
  );
});

test('no pipeline is compiled after the first step, nor by it', async () => {
  const config = goldenConfig(MODEL, 'dp=1', { tune: 0, steps: 3, lr: 1e-3 });
  const prepared = prepareRun(config, readRunFiles(goldenModel(MODEL)));
  const [{ links, leave }] = loopbackMesh(1, realWorld);
  const ledger = createLedger();
  const device = await createWebGpuDevice(await nodeGpu(), {
    qualifier: new Qualifier({ world: realWorld, version: 'test', tuneMs: 0 }),
  });
  const pipelines: number[] = [];
  await runRank({
    device,
    mesh: createMesh({ layout: config.layout, rank: 0, links, ledger }),
    ledger,
    world: realWorld,
    config,
    prepared,
    onEvent: (event) => {
      if (event.kind === 'ready' || event.kind === 'step') pipelines.push(device.counters.pipelines);
    },
  });
  leave();
  device.destroy();
  expect(pipelines[0]).toBeGreaterThan(10);
  expect(pipelines).toEqual([pipelines[0], pipelines[0], pipelines[0], pipelines[0]]);
});

test('a run that begins at once learns the same, and is checked and measured between its steps', async () => {
  const settings = [
    ['model', 'gpt2-nano'],
    ['data', 'copy'],
    ['context', '16'],
    ['batch', '4'],
    ['steps', '60'],
    ['evalEvery', '0'],
    ['sampleEvery', '0'],
  ] as const;
  const plain: number[] = [];
  await runInProcess({
    backend: 'node',
    config: parseRunConfig([...settings, ['tune', 'none']]),
    files: {},
    onEvent: (_, event) => {
      if (event.kind === 'step') plain.push(event.metrics.loss);
    },
  });
  const config = parseRunConfig(settings);
  const prepared = prepareRun(config, {});
  const [{ links, leave }] = loopbackMesh(1, realWorld);
  const ledger = createLedger();
  const device = await createWebGpuDevice(await nodeGpu(), {
    qualifier: new Qualifier({ world: realWorld, version: 'test', tuneMs: scaledLimit(1000), later: true }),
  });
  const told: string[] = [];
  const found: number[] = [];
  let certificate: Certificate | undefined;
  await runRank({
    device,
    mesh: createMesh({ layout: config.layout, rank: 0, links, ledger }),
    ledger,
    world: realWorld,
    config,
    prepared,
    onEvent: (event) => {
      told.push(event.kind);
      if (event.kind === 'step') found.push(event.metrics.loss);
      if (event.kind === 'certificate') certificate = event.certificate;
    },
  });
  leave();
  device.destroy();
  expect(told.indexOf('certificate')).toBeGreaterThan(told.indexOf('step'));
  expect(certificate!.checks.length).toBeGreaterThan(5);
  expect(certificate!.decisions.length).toBeGreaterThan(0);
  expect([certificate!.refused, certificate!.notes]).toEqual([[], []]);
  found.forEach((loss, step) => expect(Math.abs(loss - plain[step]), `step ${step}`).toBeLessThan(1e-4 * plain[step]));
});
