// Every workload on Dawn at a tiny size: tabmesh, tfjs and jax-js give what f64 gives, and a device that computes
// nothing is found out.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Peer, PeerSession, Problem, Runner } from '../../src/bench/problem.ts';
import { PEERS } from '../../src/bench/load/peers.ts';
import { WORKLOADS } from '../../src/bench/run.ts';
import { measureCeilings } from '../../src/bench/roofline.ts';
import { nodeLoaders } from '../../src/cli/bench/peers-node.ts';
import type { Device } from '../../src/device/device.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';

let device: Device;
beforeAll(async () => {
  device = await createWebGpuDevice(await nodeGpu());
});
afterAll(() => device.destroy());

async function outputs(problem: Problem, runner: Runner): Promise<Awaited<ReturnType<Runner['read']>>> {
  try {
    for (let i = 0; i < (problem.checkedRuns ?? 1); i++) await runner.run(1);
    return await runner.read();
  } finally {
    runner.dispose();
  }
}

describe.each(WORKLOADS)('$name', ({ name, tiny, problem: make, prepare }) => {
  it('is right, and leaves nothing behind', async () => {
    const before = JSON.stringify(
      Object.entries(device.memory)
        .filter(([tag]) => tag !== 'staging')
        .map(([, { now }]) => now),
    );
    const problem = make(tiny);
    expect(problem.check(await outputs(problem, await prepare(device, problem)))).toMatchObject({ correct: true });
    expect(
      JSON.stringify(
        Object.entries(device.memory)
          .filter(([tag]) => tag !== 'staging')
          .map(([, { now }]) => now),
      ),
    ).toBe(before);
  });
  // Two lazy steps of a trainer agree with each other, so there a second library is what finds out (below).
  if (name === 'gpt-step') return;
  it('is wrong if nothing is computed', async () => {
    const lazy: Device = { ...device, submit: (_launches, readback) => device.submit([], readback) };
    const problem = make(tiny);
    expect(problem.check(await outputs(problem, await prepare(lazy, problem)))).toMatchObject({ correct: false });
  });
});

/** Libraries that take all of these; a workload or a library that is new may do without. */
const TAKEN: Readonly<Record<string, number | undefined>> = { tfjs: 7, 'jax-js': 7 };

describe.each(PEERS.filter(({ library }) => library !== 'onnxruntime-web'))('$library', ({ library, open }: Peer) => {
  let session: PeerSession;
  beforeAll(async () => {
    session = await open(nodeLoaders, 'webgpu');
  });
  it('takes workloads that are there, and none less than before', () => {
    const taken = Object.entries(session.workloads).flatMap(([name, make]) =>
      typeof make === 'function' ? [name] : [],
    );
    expect(WORKLOADS.map(({ name }) => name)).toEqual(expect.arrayContaining(taken));
    expect(taken.length).toBeGreaterThanOrEqual(TAKEN[library] ?? 1);
  });
  it.each(WORKLOADS)('is right at $name where it has it', async ({ name, tiny, problem: make, prepare }) => {
    const problem = make(tiny);
    const peer = session.workloads[name];
    // Not every library has everything.
    if (typeof peer !== 'function') return;
    const found = await outputs(problem, await peer(problem));
    expect(problem.check(found)).toMatchObject({ correct: true });
    if (!problem.agree) return;
    const own = await outputs(problem, await prepare(device, problem));
    expect([
      ...problem
        .agree(
          new Map([
            ['tabmesh', own],
            ['peer', found],
          ]),
        )
        .values(),
    ]).toEqual([true, true]);
  });
});

it('onnxruntime-web says why it is not there', async () => {
  await expect(PEERS.find(({ library }) => library === 'onnxruntime-web')!.open(nodeLoaders, 'webgpu')).rejects.toThrow(
    'has no WebGPU in Node',
  );
});

it('ceilings are finite and positive', async () => {
  const { bandwidth, peakGflops } = await measureCeilings(device);
  for (const value of [...Object.values(bandwidth), peakGflops]) expect(value > 0 && Number.isFinite(value)).toBe(true);
});
