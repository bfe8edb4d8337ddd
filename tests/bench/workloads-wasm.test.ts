// Every workload on WebAssembly at a tiny size: tabmesh gives what f64 gives, and a device that computes nothing is
// found out. The other libraries need a page (tests/cli/bench.tabs.test.ts).

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Outputs, Problem, Runner } from '../../src/bench/problem.ts';
import { WORKLOADS } from '../../src/bench/run.ts';
import { ThreadMeter } from '../../src/bench/threads.ts';
import type { Device } from '../../src/device/device.ts';
import { createWasmDevice } from '../../src/device/wasm.ts';

let device: Device;
beforeAll(async () => {
  device = await createWasmDevice();
});
afterAll(() => device.destroy());

async function outputs(problem: Problem, runner: Runner): Promise<Outputs> {
  try {
    for (let i = 0; i < (problem.checkedRuns ?? 1); i++) await runner.run(1);
    return await runner.read();
  } finally {
    runner.dispose();
  }
}

describe.each(WORKLOADS)('$name', ({ name, tiny, problem: make, prepare }) => {
  it('is right', async () => {
    const problem = make(tiny);
    expect(problem.check(await outputs(problem, await prepare(device, problem)))).toMatchObject({ correct: true });
  });
  // Two lazy steps of a trainer agree with each other; another library is what finds them out.
  if (name === 'gpt-step') return;
  it('is wrong if nothing is computed', async () => {
    const lazy: Device = { ...device, submit: (_launches, readback) => device.submit([], readback) };
    const problem = make(tiny);
    expect(problem.check(await outputs(problem, await prepare(lazy, problem)))).toMatchObject({ correct: false });
  });
});

describe('threads', () => {
  it('are counted by who starts them, until the meter stops', async () => {
    class FakeWorker {}
    const given = globalThis as { Worker?: unknown };
    const before = given.Worker;
    given.Worker = FakeWorker;
    try {
      const meter = new ThreadMeter();
      const start = () => new (given.Worker as new (url: string) => unknown)('x.js');
      await meter.during('alone', async () => 'no worker');
      const worker = await meter.during('three', async () => [start(), start()][0]);
      expect(worker).toBeInstanceOf(FakeWorker);
      meter.stop();
      start();
      expect(['alone', 'three', 'absent'].map((library) => meter.threadsOf(library))).toEqual([1, 3, 1]);
      expect(given.Worker).toBe(FakeWorker);
    } finally {
      if (before === undefined) delete given.Worker;
      else given.Worker = before;
    }
  });
});
