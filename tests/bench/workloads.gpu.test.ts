// Every workload on Dawn at a tiny size: tabmesh, tfjs and jax-js give what f64 gives, and a device that computes
// nothing is found out.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dims, Peer, PeerSession, Problem, Runner } from '../../src/bench/problem.ts';
import { PEERS, WORKLOADS } from '../../src/bench/run.ts';
import { measureCeilings } from '../../src/bench/roofline.ts';
import { nodeLoaders } from '../../src/cli/bench/peers-node.ts';
import type { Device } from '../../src/device/device.ts';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';

const TINY: Readonly<Record<string, Dims>> = {
  matmul: { B: 2, M: 5, K: 7, N: 9 },
  'attention-forward': { H: 2, T: 9, D: 8 },
  'attention-forward-backward': { H: 2, T: 9, D: 8 },
  'cross-entropy': { R: 5, V: 33 },
  'linear-cross-entropy': { R: 4, D: 64, V: 96 },
  adamw: { N: 300 },
  'gpt-step': { L: 1, D: 16, H: 2, T: 8, B: 2, V: 32 },
};

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

describe.each(WORKLOADS)('$name', ({ name, problem: make, prepare }) => {
  it('is right, and leaves nothing behind', async () => {
    const before = JSON.stringify(
      Object.entries(device.memory)
        .filter(([tag]) => tag !== 'staging')
        .map(([, { now }]) => now),
    );
    const problem = make(TINY[name]);
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
    const problem = make(TINY[name]);
    expect(problem.check(await outputs(problem, await prepare(lazy, problem)))).toMatchObject({ correct: false });
  });
});

describe.each(PEERS.filter(({ library }) => library !== 'onnxruntime-web'))('$library', ({ open }: Peer) => {
  let session: PeerSession;
  beforeAll(async () => {
    session = await open(nodeLoaders);
  });
  it.each(WORKLOADS)('is right at $name', async ({ name, problem: make, prepare }) => {
    const problem = make(TINY[name]);
    const peer = session.workloads[name];
    expect(peer).toBeTypeOf('function');
    const found = await outputs(problem, await (peer as Exclude<typeof peer, string>)(problem));
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
  await expect(PEERS.find(({ library }) => library === 'onnxruntime-web')!.open(nodeLoaders)).rejects.toThrow(
    'has no WebGPU in Node',
  );
});

it('ceilings are finite and positive', async () => {
  const { bandwidth, peakGflops } = await measureCeilings(device);
  for (const value of [...Object.values(bandwidth), peakGflops]) expect(value > 0 && Number.isFinite(value)).toBe(true);
});
