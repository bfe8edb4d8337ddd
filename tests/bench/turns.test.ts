// Turns are fair and adapt, ratios are medians over rounds, means are geometric; wrong results do not count.

import { describe, expect, it } from 'vitest';
import type { WorkloadResult } from '../../src/bench/run.ts';
import { summarise, summaryLine } from '../../src/bench/summary.ts';
import { geometricMean, ratioOf, takeTurns } from '../../src/bench/turns.ts';

/** Libraries whose runs take `ms` of a clock that only they move; `log` has who ran how often. */
function scene(...ms: number[]) {
  let clock = 0;
  const log: string[] = [];
  const contestants = ms.map((cost, i) => ({
    async run(times: number) {
      log.push(`${'ABC'[i]}${times}`);
      clock += cost * times;
    },
  }));
  return { contestants, log, now: () => clock };
}

describe('turns', () => {
  it('go A B C, C B A and fill the time of a turn', async () => {
    const { contestants, log, now } = scene(10, 20, 500);
    const times = await takeTurns(
      contestants,
      [10, 20, 500],
      { rounds: 3, turnMs: 100, budgetMs: 1e6 },
      undefined,
      now,
    );
    expect(log).toEqual(['A10', 'B5', 'C1', 'C1', 'B5', 'A10', 'A10', 'B5', 'C1']);
    expect(times.map(({ turns }) => turns)).toEqual([
      [10, 10, 10],
      [20, 20, 20],
      [500, 500, 500],
    ]);
  });
  it('get fewer when they are slow, but one', async () => {
    const rounds = async (ms: number) =>
      (await takeTurns(scene(ms).contestants, [ms], { rounds: 5, turnMs: 100, budgetMs: 6000 }))[0].turns.length;
    expect([await rounds(10), await rounds(2000), await rounds(60_000)]).toEqual([5, 3, 1]);
  });
  it('end when they are told to', async () => {
    const { contestants, log, now } = scene(1, 1);
    await expect(
      takeTurns(
        contestants,
        [100, 100],
        { rounds: 9, turnMs: 1, budgetMs: 1e6 },
        () => {
          if (log.length === 3) throw new Error('stop');
        },
        now,
      ),
    ).rejects.toThrow('stop');
    expect(log).toHaveLength(3);
  });
});

it('a ratio is taken within rounds: a machine that slows down slows both', () => {
  expect(ratioOf({ turns: [1, 2, 10], runs: 1 }, { turns: [3, 6, 20], runs: 1 })).toBe(3);
});

it('means are geometric', () => {
  expect(geometricMean([1, 4])).toBeCloseTo(2);
  expect(geometricMean([0.5, 2, 8])).toBeCloseTo(2);
  expect(geometricMean([])).toBeNaN();
});

describe('a summary', () => {
  const row = (shape: string, library: string, ratio: number | null, correct = true): WorkloadResult => ({
    workload: 'matmul',
    shape,
    library,
    correct,
    ratio,
    medianMs: 1,
    minMs: 1,
    maxMs: 1,
    firstMs: 1,
    rounds: 1,
    runs: 1,
    gflops: 1,
    gbps: 1,
    roofline: null,
    worstError: 0,
  });
  it('says the mean and where tabmesh gains least', () => {
    const summaries = summarise([
      row('a', 'tabmesh', null),
      row('a', 'tfjs', 2),
      row('a', 'jax-js', 1.5),
      row('b', 'tabmesh', null),
      row('b', 'tfjs', 8),
    ]);
    expect(summaries).toEqual([
      {
        workload: 'matmul',
        peers: [
          { library: 'tfjs', ratio: expect.closeTo(4), shapes: 2, least: { shape: 'a', ratio: 2 } },
          { library: 'jax-js', ratio: 1.5, shapes: 1, least: { shape: 'a', ratio: 1.5 } },
        ],
      },
    ]);
    expect(summaryLine(summaries[0])).toBe(
      'matmul: 4.00x tfjs, 1.50x jax-js (geometric mean of 2, 1 shapes; least 1.50x jax-js at a)',
    );
  });
  it('counts nothing that is wrong on either side', () => {
    expect(
      summarise([
        row('a', 'tabmesh', null),
        row('a', 'tfjs', 9, false),
        row('b', 'tabmesh', null, false),
        row('b', 'tfjs', 9),
      ]),
    ).toEqual([]);
  });
});
