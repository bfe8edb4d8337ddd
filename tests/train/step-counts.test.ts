// What a training step costs besides arithmetic, counted: launches, submits, readbacks. A change here is a change of
// every step; state it in the commit. That no pipeline is compiled in the loop is held by qualified.gpu.test.ts, on a
// device that has pipelines.

import { expect, test } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Device } from '../../src/device/device.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { runRank } from '../../src/train/run.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import { goldenConfig, goldenModel } from '../support/local-run.ts';

interface StepCounts {
  readonly launches: number;
  readonly submits: number;
  readonly readbacks: number;
  readonly byKernel: Readonly<Record<string, number>>;
}

/** Counts of the second step, of each rank. */
async function secondStep(model: string, layout: string): Promise<readonly StepCounts[]> {
  const config = goldenConfig(model, layout, { steps: 2 });
  const prepared = prepareRun(config, readRunFiles(goldenModel(model)));
  const ranks = Object.values(config.layout).reduce((n, size) => n * size, 1);
  return Promise.all(
    loopbackMesh(ranks, realWorld).map(async ({ links, leave }, rank) => {
      const device = createCpuDevice();
      const kernels: string[] = [];
      const seen: Device = {
        ...device,
        submit: (launches, readback) => {
          kernels.push(...launches.map(({ kernel }) => kernel));
          return device.submit(launches, readback);
        },
      };
      const ledger = createLedger();
      let before = { ...device.counters, at: 0 };
      let counts: StepCounts | undefined;
      await runRank({
        device: seen,
        mesh: createMesh({ layout: config.layout, rank, links, ledger }),
        ledger,
        world: realWorld,
        config,
        prepared,
        onEvent: (event) => {
          if (event.kind !== 'step') return;
          const { launches, submits, readbacks } = device.counters;
          const byKernel: Record<string, number> = {};
          for (const kernel of kernels.slice(before.at)) byKernel[kernel] = (byKernel[kernel] ?? 0) + 1;
          counts = {
            launches: launches - before.launches,
            submits: submits - before.submits,
            readbacks: readbacks - before.readbacks,
            byKernel,
          };
          before = { ...device.counters, at: kernels.length };
        },
      });
      leave();
      return counts!;
    }),
  );
}

test.each([
  ['gpt2-tiny', 73],
  ['llama-tiny', 67],
  ['mixtral-tiny', 89],
])('a step of %s on one device', async (model, launches) => {
  const [step] = await secondStep(model, 'dp=1');
  // Gradients to zero, F with the row losses, B, the norm, AdamW; the losses and the norm come back.
  expect({ launches: step.launches, submits: step.submits, readbacks: step.readbacks }).toEqual({
    launches,
    submits: 5,
    readbacks: 2,
  });
  expect(step.byKernel).toMatchObject({ adamw: 1, squareBins: 1, fill: 1 });
});

test.each([
  // Where every rank owns its stage alone, one launch updates it, experts too.
  ['gpt2-tiny', 'pp=2', 1],
  ['gpt2-tiny', 'tp=2', 1],
  ['mixtral-tiny', 'tp=2', 1],
  // Where replicas share the work, each owns a run of every segment; runs that meet are one launch.
  ['gpt2-tiny', 'dp=2', 2],
  ['mixtral-tiny', 'ep=2', 2],
])('AdamW of %s with %s is %i launches a rank', async (model, layout, updates) => {
  for (const { byKernel } of await secondStep(model, layout)) expect(byKernel['adamw']).toBe(updates);
});
