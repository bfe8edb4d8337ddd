import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/base/errors.ts';
import { PASSES, formatAction } from '../../../src/parallel/pipeline/passes.ts';
import { placementOf } from '../../../src/parallel/pipeline/placement.ts';
import { renderSimulation } from '../../../src/parallel/pipeline/render.ts';
import { scheduleByName } from '../../../src/parallel/pipeline/registry.ts';
import type { Action } from '../../../src/parallel/pipeline/schedule.ts';
import { simulate } from '../../../src/parallel/pipeline/simulate.ts';
import { randomNumbers } from '../../support/random-numbers.ts';
import { vee } from '../../support/vee-schedule.ts';

const gpipe = scheduleByName('gpipe');
const oneFOneB = scheduleByName('1f1b');

describe('simulate', () => {
  it('equals the closed forms for whole durations with latency', () => {
    for (const p of [2, 4, 8]) {
      for (const m of [1, p - 1, p, 4 * p]) {
        const shape = { ranks: p, chunks: 1, microbatches: m };
        expect(simulate(gpipe, shape, { F: 3, B: 4, W: 2, comm: 5 }).makespan).toBe((m + p - 1) * 9 + 2 * (p - 1) * 5);
        expect(simulate(oneFOneB, shape, { F: 3, B: 4, W: 2 }).makespan).toBe((m + p - 1) * 9);
      }
    }
  });

  it('starts every action at the earliest moment that its rank and its inputs allow', () => {
    const random = randomNumbers(3);
    for (const [schedule, chunks] of [
      [gpipe, 1],
      [oneFOneB, 1],
      [vee, 2],
    ] as const) {
      const shape = { ranks: 4, chunks, microbatches: 6 };
      const latency = new Map<string, number>();
      const comm = (from: Action, to: number) => {
        const ms = random();
        latency.set(`${formatAction(from)}>${to}`, ms);
        return ms;
      };
      const { timeline } = simulate(schedule, shape, { F: 1.25, B: 2, W: 0.5, comm });
      const all = new Map(
        timeline.flatMap((actions, rank) =>
          actions.map((action) => [formatAction(action), { ...action, rank }] as const),
        ),
      );
      for (const [rank, actions] of timeline.entries()) {
        for (const [i, action] of actions.entries()) {
          const arrivals = PASSES[action.kind].needs(action, placementOf(schedule, shape)).map(({ action: input }) => {
            const source = all.get(formatAction(input))!;
            return source.end + (source.rank === rank ? 0 : latency.get(`${formatAction(input)}>${rank}`)!);
          });
          expect(action.start).toBe(Math.max(0, actions[i - 1]?.end ?? 0, ...arrivals));
        }
      }
    }
  });

  it('handles chunks in a V and split weights', () => {
    const shape = { ranks: 3, chunks: 2, microbatches: 2 };
    const { peakLive, peakLiveOfStage, messages, busy } = simulate(vee, shape, { F: 1, B: 1, W: 1 });
    expect(peakLive).toEqual([4, 4, 4]);
    expect(peakLiveOfStage).toEqual([2, 2, 2, 2, 2, 2]);
    // The turn of the V lies inside the last rank: 4 of 5 boundaries are crossed, both ways.
    expect(messages).toBe(2 * 4 * 2);
    expect(busy).toEqual([12, 12, 12]);
  });

  it('a full channel holds the sender back', () => {
    const shape = { ranks: 2, chunks: 1, microbatches: 4 };
    const free = simulate(gpipe, shape, { F: 1, B: 1, W: 0, comm: 10 });
    const held = simulate(gpipe, shape, { F: 1, B: 1, W: 0, comm: 10, capacity: 1 });
    expect(free.timeline[0].slice(0, 4).map(({ start }) => start)).toEqual([0, 1, 2, 3]);
    // F1 is done at 2 and leaves when F0 is taken at 11; F2 then leaves when F1 is taken at 21, and so on.
    expect(held.timeline[0].slice(0, 4).map(({ start }) => start)).toEqual([0, 1, 11, 21]);
  });

  it('refuses a deadlock with an internal error that names who waits', () => {
    const lists: readonly Action[][] = [
      ['F', 'B'],
      ['B', 'F'],
    ].map((kinds, stage) => kinds.map((kind) => ({ kind: kind as 'F', stage, microbatch: 0 })));
    expect(() =>
      simulate(
        { ...gpipe, actions: (rank) => lists[rank] },
        { ranks: 2, chunks: 1, microbatches: 1 },
        { F: 1, B: 1, W: 1 },
      ),
    ).toThrow(InternalError);
    expect(() =>
      simulate(
        { ...gpipe, actions: (rank) => lists[rank] },
        { ranks: 2, chunks: 1, microbatches: 1 },
        { F: 1, B: 1, W: 1 },
      ),
    ).toThrow('rank 1 waits with B0@1 for F0@1');
  });
});

describe('renderSimulation', () => {
  const shape = { ranks: 2, chunks: 1, microbatches: 2 };
  const result = simulate(oneFOneB, shape, { F: 1, B: 1, W: 1 });

  it('draws numbers, then letters, then cuts', () => {
    expect(renderSimulation(oneFOneB, shape, result)).toEqual([
      'rank 0 |F0 F1 .  .  B0--- .  B1--- |',
      'rank 1 |.  F0 B0--- F1 B1--- .  .  |',
    ]);
    expect(renderSimulation(oneFOneB, shape, result, 20)).toEqual(['rank 0 |FF..BB.BB|', 'rank 1 |.FBBFBB..|']);
    expect(renderSimulation(oneFOneB, shape, result, 14)).toEqual([
      'rank 0 |FF..B|',
      'rank 1 |.FBBF|',
      '(the first 5 of 9 columns)',
    ]);
  });
  it('marks chunks by letter and copes with uneven times', () => {
    const small = { ranks: 2, chunks: 2, microbatches: 1 };
    expect(renderSimulation(vee, small, simulate(vee, small, { F: 1, B: 1, W: 1 }))[0]).toBe(
      'rank 0 |F0a .   .   F0b B0b .   .   B0a W0a W0b |',
    );
    const uneven = simulate(oneFOneB, shape, { F: Math.PI, B: Math.E, W: Math.SQRT2 });
    for (const line of renderSimulation(oneFOneB, shape, uneven, 130)) expect(line.length).toBeLessThanOrEqual(130);
  });
});

describe('scheduleByName', () => {
  it('names the schedules there are', () => {
    expect(() => scheduleByName('2f2b')).toThrow(/schedule: expected .*gpipe.*, got '2f2b'/);
  });
});
