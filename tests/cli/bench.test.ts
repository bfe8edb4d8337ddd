// The benches on the CPU references: fields of the results, and that wrong work is called wrong. No test asserts a
// time.

import { describe, expect, it } from 'vitest';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { benchCases, isClose } from '../../src/bench/contract-cases.ts';
import { median, table } from '../../src/bench/bench-report.ts';
import { benchStep, CHECKED_STEPS, stepConfig } from '../../src/bench/gpt2/step.ts';
import type { StepRunner } from '../../src/bench/gpt2/step.ts';
import { run } from '../../src/cli/main.ts';

const TEXT = 'it is not down in any map; true places never are. '.repeat(20);
const quiet = { onStatus: () => {} };

/** A peer whose losses are `losses`, over and over. */
function fakePeer(losses: readonly number[]): StepRunner & { disposed: boolean } {
  let taken = 0;
  return {
    library: 'fake',
    waitedMs: 0,
    disposed: false,
    async step() {
      return losses[taken++ % losses.length];
    },
    async countStep() {
      await this.step();
      return { launches: 3, readbacks: 1 };
    },
    dispose() {
      this.disposed = true;
    },
  };
}

describe('a step', () => {
  const config = stepConfig([
    ['data', 'text.txt'],
    ['batch', 1],
    ['context', 4],
  ]);
  const bench = (peer?: StepRunner) =>
    benchStep({
      device: createCpuDevice(),
      config,
      files: { text: TEXT },
      rounds: 3,
      peers: peer ? [{ library: peer.library, make: async () => peer }] : [],
    });

  it('has all fields', async () => {
    const { adapter, results, ratios } = await bench();
    expect(adapter).toBe('tabmesh reference f64 references on the CPU (software)');
    expect(results).toEqual([
      {
        workload: 'gpt-step',
        shape: 'gpt2-nano V=20 B=1 T=4',
        library: 'tabmesh',
        correct: true,
        medianMs: expect.any(Number),
        gflops: expect.any(Number),
        tokensPerSecond: expect.any(Number),
        launches: expect.any(Number),
        readbacks: 2,
        jsShare: expect.any(Number),
        losses: expect.any(Array),
      },
    ]);
    expect(results[0].losses).toHaveLength(CHECKED_STEPS);
    expect(results[0].launches).toBeGreaterThan(50);
    expect(ratios).toEqual({});
  });
  it('agrees with a peer of the same losses, and only with such a one', async () => {
    const { losses } = (await bench()).results[0];
    const same = fakePeer(losses);
    const agreeing = await bench(same);
    expect(agreeing.results.map(({ library, correct }) => [library, correct])).toEqual([
      ['tabmesh', true],
      ['fake', true],
    ]);
    expect(agreeing.ratios['fake']).toHaveLength(3);
    expect(same.disposed).toBe(true);
    for (const wrong of [
      [losses[0], losses[1], losses[2] + 0.0011],
      [NaN, NaN, NaN],
    ]) {
      expect((await bench(fakePeer(wrong))).results.map(({ correct }) => correct)).toEqual([false, false]);
    }
  });
});

describe('kernels', () => {
  it('are found by name, each case a row', async () => {
    const { results } = await benchCases({ ...quiet, device: createCpuDevice(), only: 'adamw' });
    expect(results.map(({ workload, shape, library, correct }) => [workload, shape, library, correct])).toEqual([
      ['adamw', 'N=1 DECAY_END=1', 'tabmesh', true],
      ['adamw', 'N=257 DECAY_START=3 DECAY_END=200', 'tabmesh', true],
      ['adamw', 'N=1000 DECAY_START=64 DECAY_END=640', 'tabmesh', true],
      ['adamw', 'N=68 DECAY_END=68', 'tabmesh', true],
      ['adamw', 'N=67 DECAY_END=67', 'tabmesh', true],
    ]);
    await expect(benchCases({ ...quiet, device: createCpuDevice(), only: 'adamv' })).rejects.toThrow(
      /--only: expected a kernel \(.*adamw.*\), got 'adamv'/,
    );
  });
  it('that miscompute are called wrong', async () => {
    const device = createCpuDevice();
    const lazy = {
      ...device,
      submit: (_launches: unknown, readback?: Parameters<typeof device.submit>[1]) => device.submit([], readback),
    };
    const { results } = await benchCases({ ...quiet, device: lazy, only: 'adamw' });
    expect(results.map(({ correct }) => correct)).toEqual([false, false, false, false, false]);
  });
  it('are compared at the scale of their result, NaN never passes, minus infinity only with its like', () => {
    const f32 = (...values: number[]) => Float32Array.from(values);
    expect(isClose(f32(100, 1), f32(100, 1.0009), 1e-5)).toBe(true);
    expect(isClose(f32(100, 1), f32(100, 1.0011), 1e-5)).toBe(false);
    expect(isClose(f32(1), f32(NaN), 1e-5)).toBe(false);
    expect(isClose(f32(1, -1e30), f32(1, -Infinity), 1e-5)).toBe(true);
    expect(isClose(f32(1, -1e30), f32(1, -1), 1e-5)).toBe(false);
    expect(isClose(Uint32Array.of(7), Uint32Array.of(8), 1)).toBe(false);
  });
});

it('medians and tables', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2.5, NaN]);
  expect(
    table(
      'lrl',
      ['name', 'ms', 'shape'],
      [
        ['a', '10.5', 'N=1'],
        ['longer', '2', 'N=20'],
      ],
    ),
  ).toEqual(['name      ms  shape', 'a       10.5  N=1', 'longer     2  N=20']);
});

it.each([
  [[], '--json'],
  [['steps'], "expected step, kernels, first-loss, collectives or pipeline first, got 'steps'"],
  [['step', '--peers', '--model', 'llama-nano'], 'compared on gpt2 models, got llama-nano'],
  [['step', '--threads', '2'], '--threads: expected --backend wasm, whose threads they are, got chromium'],
  [['step', '--threads', '2', '--backend', 'wasm', '--peers'], 'compared with one thread each, got 2'],
])('bench %j is refused with exit code 2', async (args, sentence) => {
  const lines: string[] = [];
  const say = (line: string) => {
    lines.push(line);
  };
  expect(
    await run(['bench', ...args], {
      out: say,
      err: say,
      signal: new AbortController().signal,
      interactive: false,
      columns: 80,
    }),
  ).toBe(2);
  if (args.length) expect(lines[0]).toContain(sentence);
});
