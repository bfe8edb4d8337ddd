// Layers to stages: as good as the best of all partitions, for layers and devices that differ.

import { describe, expect, it, test } from 'vitest';
import { LayoutError } from '../../../src/base/errors.ts';
import { balance } from '../../../src/parallel/pipeline/balance.ts';
import type { StageSpec } from '../../../src/parallel/pipeline/balance.ts';
import { scheduleByName } from '../../../src/parallel/pipeline/registry.ts';
import { simulate } from '../../../src/parallel/pipeline/simulate.ts';
import { randomNumbers } from '../../support/random-numbers.ts';

/** The slowest stage of the best of all partitions, tried one by one. */
function bruteForce(costs: readonly number[], stages: readonly StageSpec[]): number {
  const [{ slowness = 1, fixed = 0 }, ...rest] = stages as [StageSpec, ...StageSpec[]];
  const time = (count: number): number => fixed + slowness * costs.slice(0, count).reduce((sum, cost) => sum + cost, 0);
  if (rest.length === 0) return time(costs.length);
  let best = Infinity;
  for (let count = 1; count <= costs.length - rest.length; count++)
    best = Math.min(best, Math.max(time(count), bruteForce(costs.slice(count), rest)));
  return best;
}

describe('balance', () => {
  it('is as good as the best of all partitions', () => {
    const random = randomNumbers(6);
    const whole = (most: number): number => Math.floor(random() * (most + 1));
    for (let trial = 0; trial < 300; trial++) {
      const costs = Array.from({ length: 1 + whole(8) }, () => whole(20));
      const stages = Array.from({ length: 1 + whole(Math.min(4, costs.length - 1)) }, () => ({
        slowness: 1 + whole(3),
        fixed: whole(1) * whole(30),
      }));
      const { layers, times, slowest } = balance(costs, stages);
      expect(slowest, JSON.stringify({ costs, stages })).toBe(bruteForce(costs, stages));
      expect(Math.max(...times)).toBe(slowest);
      // Every layer once, in order, and no stage without one.
      expect(layers.flatMap(([first, end]) => costs.slice(first, end))).toEqual(costs);
      expect(layers.every(([first, end]) => end > first)).toBe(true);
    }
  });

  it('gives a slow device less, and the stage of the head less', () => {
    const equal = new Array<number>(12).fill(1);
    expect(balance(equal, [{}, {}, {}]).layers).toEqual([
      [0, 4],
      [4, 8],
      [8, 12],
    ]);
    expect(balance(equal, [{}, { slowness: 2 }, {}]).times).toEqual([5, 4, 5]);
    expect(balance(equal, [{}, {}, { fixed: 3 }]).times).toEqual([5, 5, 5]);
  });

  it.each([
    [[1, 2], [{}, {}, {}], 'stages: expected 1 to 2, one per layer at most, got 3'],
    [[1, -2], [{}], 'costs: expected numbers of at least 0, got -2'],
    [[1, NaN], [{}], 'costs: expected numbers of at least 0, got NaN'],
    [[1, 1], [{ slowness: -1 }], 'costs: expected numbers of at least 0, got -1'],
  ])('refuses %j for %j', (costs, stages, sentence) => {
    expect(() => balance(costs, stages)).toThrow(LayoutError);
    expect(() => balance(costs, stages)).toThrow(sentence);
  });
});

test('layers cannot make up for a head that weighs more than a stage; a shared vocabulary does', () => {
  // Eight layers of 1 on four ranks; the head is as long as five of them.
  const [p, m, head] = [4, 32, 5];
  const costs = new Array<number>(8).fill(1);
  const last = (fixed: number): StageSpec[] => [{}, {}, {}, { fixed }];
  const { times, slowest } = balance(costs, last(head));
  // The last rank keeps one layer, and is still the slowest: (8 + 5) / 4 is out of reach.
  expect(times.toSorted()).toEqual([2, 2, 3, 6]);
  expect(times[3]).toBe(6);
  expect(slowest).toBeGreaterThan((8 + head) / p);
  const shape = { ranks: p, chunks: 1, microbatches: m };
  const step = (stages: readonly number[]): number =>
    simulate(scheduleByName('1f1b'), shape, { F: (s) => stages[s]!, B: (s) => 2 * stages[s]!, W: 0 }).makespan;
  const even = [2, 2, 2, 2 + head];
  const shared = simulate(scheduleByName('1f1b', 'alg2'), shape, {
    ...{ F: 2, B: 4, W: 0, S: (2 * head) / p, T: head / p, IF: 0, IB: 0 },
  }).makespan;
  expect(step(times)).toBeLessThan(step(even));
  expect(shared).toBeLessThan(0.6 * step(times));
});
