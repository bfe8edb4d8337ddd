import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/base/errors.ts';
import { PASSES, formatAction } from '../../../src/parallel/pipeline/passes.ts';
import { placementOf } from '../../../src/parallel/pipeline/placement.ts';
import { renderSimulation } from '../../../src/parallel/pipeline/render.ts';
import { scheduleByName, schedules } from '../../../src/parallel/pipeline/registry.ts';
import type { Action } from '../../../src/parallel/pipeline/schedule.ts';
import { simulate } from '../../../src/parallel/pipeline/simulate.ts';
import { randomNumbers } from '../../support/random-numbers.ts';
import { ALL } from '../../support/sample.ts';
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

  it('takes the time of each stage, and of each way', () => {
    const shape = { ranks: 3, chunks: 1, microbatches: 1 };
    const slow = (stage: number): number => stage + 1;
    const ways: string[] = [];
    const comm = (from: Action, to: number): number => {
      ways.push(`${formatAction(from)}>${to}`);
      return 10 * (to + 1);
    };
    const { makespan } = simulate(gpipe, shape, { F: slow, B: 1, W: 0, comm });
    // Forwards 1 + 2 + 3, ways there 20 + 30, backwards 3, ways back 20 + 10.
    expect(makespan).toBe(6 + 50 + 3 + 30);
    expect(ways).toEqual(['F0@0>1', 'F0@1>2', 'B0@2>1', 'B0@1>0']);
  });

  it('a link carries one message at a time each way', () => {
    const shape = { ranks: 2, chunks: 1, microbatches: 3 };
    const starts = (timing: object): number[] =>
      simulate(gpipe, shape, { F: 1, B: 1, W: 0, ...timing })
        .timeline[1]!.slice(0, 3)
        .map(({ start }) => start);
    expect(starts({ comm: 4 })).toEqual([5, 6, 7]);
    expect(starts({ transfer: 4 })).toEqual([5, 9, 13]);
    expect(starts({ transfer: 4, comm: 2 })).toEqual([7, 11, 15]);
    // F0, its way, F0 and B0 of the last rank, and back while F1 is on its way there.
    const both = simulate(oneFOneB, shape, { F: 1, B: 1, W: 0, transfer: 4 });
    const [first] = both.timeline[0]!.filter(({ kind }) => kind === 'B');
    expect(first!.start).toBe(5 + 1 + 1 + 4);
  });

  it('a message leaves when its receiver has posted a receive', () => {
    const shape = { ranks: 2, chunks: 1, microbatches: 4 };
    const arrivals = (posted?: number): number[] =>
      simulate(gpipe, shape, { F: 1, B: 1, W: 0, comm: 10, ...(posted ? { posted } : {}) })
        .timeline[1]!.slice(0, 4)
        .map(({ start }) => start);
    expect(arrivals()).toEqual([11, 12, 13, 14]);
    // The sender goes on, but the third message waits until the first was taken at 11.
    expect(arrivals(2)).toEqual([11, 12, 21, 22]);
    expect(arrivals(1)).toEqual([11, 21, 31, 41]);
    const { timeline } = simulate(gpipe, shape, { F: 1, B: 1, W: 0, comm: 10, posted: 1 });
    expect(timeline[0]!.slice(0, 4).map(({ start }) => start)).toEqual([0, 1, 2, 3]);
  });

  it('a barrier ends for all ranks together, its collective after the last has come', () => {
    const schedule = scheduleByName('1f1b', 'alg1');
    const shape = { ranks: 3, chunks: 1, microbatches: 4 };
    const times = { F: 1, B: 1, W: 1, S: 0.5, T: 0.5, IF: 0, IB: 0 };
    const { timeline } = simulate(schedule, shape, { ...times, comm: 1, collective: 7 });
    const of = (kind: string, microbatch: number) =>
      timeline.map((actions) => actions.find((action) => action.kind === kind && action.microbatch === microbatch)!);
    for (let microbatch = 0; microbatch < 4; microbatch++) {
      const there = Math.max(...of('S', microbatch).map(({ end }) => end)) + 7;
      for (const { start } of of('T', microbatch)) expect(start).toBeGreaterThanOrEqual(there);
    }
    // A collective that takes no time is caught.
    const free = simulate(schedule, shape, { ...times, comm: 1, collective: 0 });
    expect(free.makespan).toBeLessThan(simulate(schedule, shape, { ...times, comm: 1, collective: 7 }).makespan);
  });

  it('a way that is left out ends too soon, for every schedule', () => {
    for (const { name, defaultChunks: chunks = 1 } of schedules.values()) {
      const schedule = scheduleByName(name, 'alg2');
      const shape = { ranks: 4, chunks, microbatches: 8 };
      const times = { F: 1, R: 1, B: 1, W: 1, S: 0.5, T: 0.5, IF: 0.1, IB: 0.1 };
      const right = simulate(schedule, shape, { ...times, comm: 5 }).makespan;
      // As if gradients were there at once.
      const comm = ({ kind }: Action): number => (kind === 'B' ? 0 : 5);
      expect(simulate(schedule, shape, { ...times, comm }).makespan, name).toBeLessThan(right);
    }
  });

  it('times hundreds of ranks with thousands of microbatches', () => {
    // All of it: 1024 ranks with 4096 microbatches, 8 to 25 million actions.
    const [ranks, microbatches] = ALL ? [1024, 4096] : [128, 512];
    for (const [name, form] of [
      ['gpipe', 'none'],
      ['1f1b', 'none'],
      ['zb-h1', 'none'],
      ['1f1b', 'alg1'],
    ] as const) {
      const shape = { ranks, chunks: 1, microbatches };
      const times = { F: 1, B: 1, W: 1, S: 0.25, T: 0.5, IF: 0, IB: 0 };
      const { makespan, busy } = simulate(scheduleByName(name, form), shape, times);
      expect(makespan - busy[0]!, `${name} ${form}`).toBe((name === 'zb-h1' ? 1 : 3) * (ranks - 1));
    }
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
