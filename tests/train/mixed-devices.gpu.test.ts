// WebGPU and WebAssembly ranks in one layout: each training step is that of one device, and what several ranks hold has
// the same bytes on all of them, whatever computed it.

import { expect, test } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { Device } from '../../src/device/device.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { createWasmDevice } from '../../src/device/wasm.ts';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';
import type { Segment } from '../../src/model/param-spec.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { goldenConfig, goldenModel } from '../support/local-run.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';
import type { LabRank } from '../support/trainer-lab.ts';

const MODEL = 'llama-tiny';
const STEPS = 4;

interface Trained {
  readonly steps: readonly { readonly loss: number; readonly gradNorm: number }[];
  /** Parameters after the last step by stage and segment. */
  readonly values: ReadonlyMap<string, Uint8Array>;
  readonly kind: Device['kind'];
}

async function train({ trainer, device }: LabRank): Promise<Trained> {
  const steps = [];
  for (let step = 0; step < STEPS; step++) {
    const { loss, gradNorm } = await trainer.trainStep();
    steps.push({ loss, gradNorm });
  }
  const values = new Map<string, Uint8Array>();
  for (const [index, { params }] of trainer.stages) {
    for (const { segment, start, end } of params.layout.segments) {
      const range = { buffer: params.values, offset: 4 * start, bytes: 4 * (end - start) };
      const [bytes] = await device.submit([], [range]);
      values.set(`${index} ${segment}`, new Uint8Array(bytes!));
    }
  }
  return { steps, values, kind: device.kind };
}

async function ranksOf(
  layout: string,
  devices: readonly (() => Device | Promise<Device>)[],
): Promise<readonly Trained[]> {
  const opened = await Promise.all(devices.map((open) => open()));
  return allOf(
    await onTrainers(goldenConfig(MODEL, layout, { tune: null, steps: STEPS }), train, {
      files: readRunFiles(goldenModel(MODEL)),
      device: (reference, rank) => {
        reference.destroy();
        return opened[rank]!;
      },
    }),
  );
}

const webgpu = async (): Promise<Device> => createWebGpuDevice(await nodeGpu());
const wasm = (): Promise<Device> => createWasmDevice();

/** Which values all ranks of the layout hold. */
const SHARED: Readonly<Record<string, readonly Segment[]>> = {
  'dp=2': ['tensor', 'replicated'],
  'tp=2': ['replicated'],
  'sp=2': ['tensor', 'replicated'],
  'pp=2': [],
};

test.each(Object.keys(SHARED))('WebGPU and WebAssembly in %s', async (layout) => {
  const [one] = await ranksOf('dp=1', [createCpuDevice]);
  for (const order of [
    [webgpu, wasm],
    [wasm, webgpu],
  ]) {
    const ranks = await ranksOf(layout, order);
    expect(ranks.map(({ kind }) => kind).sort()).toEqual(['wasm', 'webgpu']);
    for (const { steps } of ranks)
      steps.forEach(({ loss, gradNorm }, step) => {
        expect(Math.abs(loss / one!.steps[step]!.loss - 1)).toBeLessThan(1e-5);
        expect(Math.abs(gradNorm / one!.steps[step]!.gradNorm - 1)).toBeLessThan(1e-4);
      });
    const shared = [...ranks[0]!.values].filter(([name]) => SHARED[layout]!.some((segment) => name.endsWith(segment)));
    expect(shared.length).toBe(SHARED[layout]!.length);
    for (const [name, bytes] of shared)
      expect(Buffer.compare(bytes, ranks[1]!.values.get(name)!), `${layout} ${name}`).toBe(0);
  }
});
