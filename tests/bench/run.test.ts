// The bench as a whole on the CPU references with libraries that are made up: what each row says, who is left out and
// why, and what ends everything.

import { describe, expect, it } from 'vitest';
import { AbortedError, DeviceLostError, LimitError } from '../../src/base/errors.ts';
import type { Peer, Problem, Runner, Workload } from '../../src/bench/problem.ts';
import { PEERS } from '../../src/bench/load/peers.ts';
import { benchWorkloads, WORKLOADS, workloadsNamed } from '../../src/bench/run.ts';
import type { BenchOptions } from '../../src/bench/run.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { run } from '../../src/cli/main.ts';

const matmul = workloadsNamed('matmul')[0];
const small = (change: Partial<Workload> = {}): Workload => ({
  ...matmul,
  shapes: [
    { dims: { B: 1, M: 5, K: 7, N: 3 }, scope: 'quick' },
    { dims: { B: 2, M: 3, K: 2, N: 2 }, scope: 'default' },
  ],
  ...change,
});

/** A library that lets tabmesh's references work and changes what comes out. */
function library(
  name: string,
  change: Partial<Runner> & { spoil?(out: Float32Array): void; make?(problem: Problem): string } = {},
): Peer {
  return {
    library: name,
    open: async () => ({
      workloads: {
        async matmul(problem) {
          if (change.make) throw new Error(change.make(problem));
          const own = await matmul.prepare(createCpuDevice(), problem);
          const read = async () => {
            const outputs = await own.read();
            change.spoil?.(outputs['out'] as Float32Array);
            return outputs;
          };
          return { run: (times) => own.run(times), dispose: () => own.dispose(), read, ...change };
        },
      },
    }),
  };
}

const bench = (options: Partial<BenchOptions> = {}) =>
  benchWorkloads({ device: createCpuDevice(), workloads: [small()], rounds: 2, ...options });

describe('results', () => {
  it('have all fields, tabmesh first, ratios for the others', async () => {
    const { adapter, results, missing, ceilings } = await bench({
      peers: [library('other', { peakBytes: 77 })],
      scope: 'quick',
      ceilings: { bandwidth: { copy: 1, scale: 1, add: 1, triad: 2 }, peakGflops: 3 },
    });
    expect(adapter).toContain('references');
    const number = expect.any(Number);
    const row = {
      workload: 'matmul',
      shape: '5x7x3',
      medianMs: number,
      minMs: number,
      maxMs: number,
      firstMs: number,
      rounds: 2,
      runs: number,
      gflops: number,
      gbps: number,
      roofline: number,
      worstError: number,
      correct: true,
    };
    expect(results).toEqual([
      { ...row, library: 'tabmesh', ratio: null, peakBytes: 4 * (35 + 21 + 15), variants: ['matmul/reference'] },
      { ...row, library: 'other', ratio: number, peakBytes: 77 },
    ]);
    expect([missing, ceilings?.peakGflops]).toEqual([[], 3]);
  });
  it('follow the scope', async () => {
    const shapes = async (scope: BenchOptions['scope']) => (await bench({ scope })).results.map(({ shape }) => shape);
    expect([await shapes('quick'), await shapes('default'), await shapes('full')]).toEqual([
      ['5x7x3'],
      ['5x7x3', '2x3x2x2'],
      ['5x7x3', '2x3x2x2'],
    ]);
  });
  it('are called wrong when they are, and NaN always', async () => {
    const { results } = await bench({
      scope: 'quick',
      peers: [
        library('off', {
          spoil: (out) => {
            out[14] += 0.01;
          },
        }),
        library('nan', {
          spoil: (out) => {
            out[3] = NaN;
          },
        }),
      ],
    });
    expect(results.map(({ library: name, correct, problem }) => [name, correct, problem])).toEqual([
      ['tabmesh', true, undefined],
      ['off', false, expect.stringMatching(/^out\[14\] is .*, expected/)],
      ['nan', false, 'out[3] is NaN'],
    ]);
    expect(results[2].worstError).toBeNull();
  });
});

describe('who cannot take part is named, and the rest goes on', () => {
  it('does not load, lacks the workload, fails at a shape', async () => {
    const { results, missing } = await bench({
      peers: [
        { library: 'absent', open: () => Promise.reject(new Error('no such package\nstack')) },
        { library: 'poor', open: async () => ({ workloads: { matmul: 'it has no products' } }) },
        { library: 'new', open: async () => ({ workloads: {} }) },
        library('picky', { make: ({ shape }) => `cannot do ${shape}` }),
      ],
    });
    expect(results.map(({ library: name }) => name)).toEqual(['tabmesh', 'tabmesh']);
    expect(missing.filter(({ shape }) => shape === '5x7x3')).toEqual(
      [
        ['absent', 'no such package'],
        ['poor', 'it has no products'],
        ['new', 'new has nothing for this workload'],
        ['picky', 'cannot do 5x7x3'],
      ].map(([name, reason]) => ({
        workload: 'matmul',
        shape: '5x7x3',
        library: name,
        reason,
        ...(name === 'picky' ? { failed: true } : {}),
      })),
    );
  });
  it('breaks in the middle of its turns', async () => {
    let runs = 0;
    const fragile = library('fragile', {
      run: async () => {
        if (++runs > 2) throw new Error('gone');
      },
      read: async () => ({ out: new Float32Array(15) }),
    });
    const { results, missing } = await bench({ scope: 'quick', peers: [fragile, library('other')] });
    expect(results.map(({ library: name, ratio }) => [name, ratio])).toEqual([
      ['tabmesh', null],
      ['other', expect.any(Number)],
    ]);
    expect(missing).toEqual([{ workload: 'matmul', shape: '5x7x3', library: 'fragile', reason: 'gone', failed: true }]);
  });
  it('also tabmesh, where the adapter is too small', async () => {
    const { results, missing } = await bench({
      scope: 'quick',
      workloads: [small({ prepare: () => Promise.reject(new LimitError('buffer a: 5 bytes, at most 4')) })],
      peers: [library('other')],
    });
    expect(results.map(({ library: name, ratio }) => [name, ratio])).toEqual([['other', null]]);
    expect(missing).toEqual([
      { workload: 'matmul', shape: '5x7x3', library: 'tabmesh', reason: 'buffer a: 5 bytes, at most 4' },
    ]);
  });
});

describe('everything ends', () => {
  it.each([
    ['a lost GPU', new DeviceLostError('reset')],
    ['a stop', new AbortedError()],
  ])('at %s', async (_, error) => {
    await expect(bench({ workloads: [small({ prepare: () => Promise.reject(error) })] })).rejects.toBe(error);
  });
  it('when the checkpoint says so', async () => {
    await expect(
      bench({
        checkpoint: () => {
          throw new AbortedError();
        },
      }),
    ).rejects.toThrow(AbortedError);
  });
});

it('the folders are the registries', () => {
  expect(WORKLOADS.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      'matmul',
      'attention-forward',
      'attention-forward-backward',
      'cross-entropy',
      'linear-cross-entropy',
      'adamw',
      'gpt-step',
    ]),
  );
  expect(PEERS.map(({ library: name }) => name).toSorted()).toEqual(['jax-js', 'onnxruntime-web', 'tfjs']);
  for (const { shapes, problem } of WORKLOADS) expect(problem(shapes[0].dims).cost.flops).toBeGreaterThan(0);
});

it('an unknown workload is refused with exit code 2', async () => {
  const lines: string[] = [];
  const say = (line: string) => {
    lines.push(line);
  };
  expect(
    await run(['bench', 'kernels', '--only', 'matmull'], {
      out: say,
      err: say,
      signal: new AbortController().signal,
      interactive: false,
      columns: 80,
    }),
  ).toBe(2);
  expect(lines[0]).toMatch(/--only: expected a workload \(.*matmul.*\), got 'matmull'/);
});
