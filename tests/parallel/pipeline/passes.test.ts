// The table of passes: what validates and simulates follows from it alone, and a pass without an execution is refused
// by name when it is to run.

import { describe, expect, it, test } from 'vitest';
import { InternalError, LayoutError } from '../../../src/base/errors.ts';
import { refuseWithoutExecution } from '../../../src/parallel/pipeline/execute.ts';
import type { StagePart } from '../../../src/parallel/pipeline/part.ts';
import { placementOf } from '../../../src/parallel/pipeline/placement.ts';
import { scheduleByName } from '../../../src/parallel/pipeline/registry.ts';
import type { Action, Schedule } from '../../../src/parallel/pipeline/schedule.ts';
import { simulate } from '../../../src/parallel/pipeline/simulate.ts';
import { assignSlots } from '../../../src/parallel/pipeline/slots.ts';
import { validate } from '../../../src/parallel/pipeline/validate.ts';

// F = 1 and a whole backward of 2; S and T are short.
const TIMING = { F: 1, B: 1, W: 1, S: 0.25, T: 0.5, IF: 0.125, IB: 0.125 };

describe('an embedding and a head that all ranks share', () => {
  const schedule = scheduleByName('1f1b', 'alg2');
  const shape = { ranks: 4, chunks: 1, microbatches: 8 };

  it('lie on all ranks, beside the blocks', () => {
    const placement = placementOf(schedule, shape);
    expect([placement.chain, placement.stages]).toEqual([4, 6]);
    expect([0, 3, 4, 5].map((stage) => placement.part(stage))).toEqual(['blocks', 'blocks', 'embedding', 'head']);
    expect([2, 4, 5].map((stage) => placement.hosts(stage))).toEqual([[2], [0, 1, 2, 3], [0, 1, 2, 3]]);
    expect(placement.held(2)).toEqual([2, 4, 5]);
  });

  it('are valid, and take the time of their passes more', () => {
    expect(validate(schedule, shape)).toEqual([]);
    const { busy, timeline } = simulate(schedule, shape, TIMING);
    expect(busy).toEqual(new Array(4).fill(8 * (3 + 0.25 + 0.5 + 0.25)));
    // F of the first blocks begins when the last rank has its part of the embedding.
    const last = Math.max(
      ...timeline.map((actions) => actions.find(({ kind, microbatch }) => kind === 'IF' && microbatch === 0)!.end),
    );
    expect(timeline[0]!.find(({ kind }) => kind === 'F')!.start).toBeGreaterThanOrEqual(last);
  });

  it('wait at a barrier for every rank, with the latency of the wire', () => {
    const comm = 3;
    const { timeline } = simulate(schedule, shape, { ...TIMING, comm });
    const end = (kind: string, rank: number, microbatch: number): number =>
      timeline[rank]!.find((action) => action.kind === kind && action.microbatch === microbatch)!.end;
    for (let microbatch = 0; microbatch < 8; microbatch++) {
      const all = [0, 1, 2, 3].map((rank) => end('S', rank, microbatch) + (rank === 3 ? 0 : comm));
      const b = timeline[3]!.find((action) => action.kind === 'B' && action.microbatch === microbatch)!;
      expect(b.start).toBeGreaterThanOrEqual(Math.max(...all));
    }
  });

  it('need a time for each of their passes', () => {
    expect(() => simulate(schedule, shape, { F: 1, B: 1, W: 1 })).toThrow('no time is given for IF');
  });
});

/** GPipe that keeps the inputs of its stages alone and makes the rest again before each backward; W apart. */
const remat: Schedule = {
  ...scheduleByName('gpipe'),
  name: 'remat',
  passes: ['F', 'R', 'B', 'W'],
  actions: (rank, { microbatches: m }) => {
    const all = Array.from({ length: m }, (_, microbatch) => microbatch);
    const one = (kind: Action['kind'], microbatch: number): Action => ({ kind, stage: rank, microbatch });
    return [...all.map((mb) => one('F', mb)), ...all.flatMap((mb) => [one('R', mb), one('B', mb), one('W', mb)])];
  },
};

describe('slots by class', () => {
  const shape = { ranks: 2, chunks: 1, microbatches: 5 };

  it('re-materialisation keeps m inputs and the activations of one microbatch', () => {
    expect(validate(remat, shape)).toEqual([]);
    const { peakSlots, busy } = simulate(remat, shape, { F: 1, B: 1, W: 1, R: 1 });
    const peaks = { 'stage-input': 5, activation: 1, retained: 1, 'output-gradient': 1 };
    expect(peakSlots).toEqual([peaks, peaks]);
    expect(busy).toEqual([20, 20]);
  });

  it('forwards alone need one slot', () => {
    const schedule = scheduleByName('zb-h1');
    const forwards = schedule.actions(0, shape).filter(({ kind }) => kind === 'F');
    const { sets, peaks } = assignSlots(forwards, placementOf(schedule, shape));
    expect(sets).toEqual(new Array(5).fill({ activation: 0, retained: 0 }));
    expect(peaks.get(0)).toEqual({ activation: 1, retained: 1 });
  });

  it('without its W, what B leaves is free after B', () => {
    const schedule = scheduleByName('zb-h1');
    const list = schedule.actions(0, shape).filter(({ kind }) => kind !== 'W');
    const { peaks } = assignSlots(list, placementOf(schedule, shape));
    expect(peaks.get(0)).toEqual({ activation: 2, retained: 2, 'output-gradient': 1 });
  });

  it('no two microbatches share a slot while both need it', () => {
    for (const name of ['1f1b', 'gpipe', 'zb-h1']) {
      const schedule = scheduleByName(name);
      const wide = { ranks: 4, chunks: 1, microbatches: 9 };
      for (let rank = 0; rank < 4; rank++) {
        const actions = schedule.actions(rank, wide);
        const { sets } = assignSlots(actions, placementOf(schedule, wide));
        for (const [i, set] of sets.entries()) {
          for (const [slotClass, slot] of Object.entries(set)) {
            // Another use of the slot between two uses by one microbatch would have overwritten it.
            const { microbatch } = actions[i]!;
            const users = sets.map((other, j) =>
              (other as Record<string, number>)[slotClass] === slot ? actions[j]!.microbatch : undefined,
            );
            const first = users.indexOf(microbatch);
            const last = users.lastIndexOf(microbatch);
            expect(new Set(users.slice(first, last + 1).filter((user) => user !== undefined))).toEqual(
              new Set([microbatch]),
            );
          }
        }
      }
    }
  });

  it('a pass that uses what nobody took', () => {
    const schedule = scheduleByName('zb-h1');
    const run = () => assignSlots([{ kind: 'W', stage: 0, microbatch: 3 }], placementOf(schedule, shape));
    expect(run).toThrow(InternalError);
    expect(run).toThrow('W3@0 uses retained, which no pass before it has taken');
  });
});

describe('seeded defects', () => {
  const shape = { ranks: 2, chunks: 1, microbatches: 4 };
  const good = scheduleByName('1f1b', 'alg1');
  const changed = (change: (actions: Action[], rank: number) => Action[]): Schedule => ({
    ...good,
    actions: (rank, s) => change([...good.actions(rank, s)], rank),
  });

  test('T before S of its microbatch', () => {
    const swapped = changed((actions, rank) => {
      if (rank !== 1) return actions;
      const [s, t] = ['S', 'T'].map((kind) => actions.findIndex((a) => a.kind === kind && a.microbatch === 1));
      [actions[s!], actions[t!]] = [actions[t!]!, actions[s!]!];
      return actions;
    });
    expect(validate(swapped, shape)).toContain('rank 1 lists T1@3 before what it needs');
  });
  test('a host of the vocabulary that leaves out its share', () => {
    const missing = changed((actions, rank) =>
      actions.filter(({ kind, microbatch }) => rank !== 0 || kind !== 'S' || microbatch !== 2),
    );
    expect(validate(missing, shape)).toContain('rank 0 never runs S2@3');
  });
  test('a host that comes to the barrier in another order than the others', () => {
    // Rank 0 ends S3 before it begins S2; rank 1 needs T of 2 before it lists S of 3.
    const crossed = changed((actions, rank) => {
      if (rank !== 0) return actions;
      const rest = actions.filter(({ kind }) => kind === 'S' || kind === 'T');
      const of = (one: string): Action[] => actions.filter(({ kind }) => kind === one);
      return [...of('IF'), ...of('F'), ...of('B'), ...rest, ...of('IB')];
    });
    const problems = validate(crossed, shape);
    expect(problems[0]).toContain('deadlock: rank 0 waits with B0@0 for B0@1');
    expect(problems[1]).toMatch(/rank 1 waits with T0@3 for S0@3/);
  });
  test('a backward that does not wait for the barrier ends too soon', () => {
    // The promise of Vocab-1 does not hold where the table forgets that B needs all T.
    const forgets: Schedule = { ...good, headGradient: 'S' };
    expect(simulate(forgets, shape, { ...TIMING, comm: 2 }).makespan).toBeLessThan(
      simulate(good, shape, { ...TIMING, comm: 2 }).makespan,
    );
  });
  test('passes without their counterpart', () => {
    expect(validate({ ...good, passes: ['F', 'S', 'B'] }, shape)).toEqual([
      'the passes have S without its counterpart',
    ]);
    expect(validate({ ...good, passes: ['F', 'S2', 'B'], headGradient: undefined }, shape)).toEqual([
      'the passes have S2 without S',
    ]);
    expect(validate({ ...good, headGradient: undefined }, shape)).toEqual([
      'headGradient is not said, with passes IF, F, S, T, B, IB',
    ]);
    expect(validate({ ...good, passes: ['F'], headGradient: undefined }, shape)).toEqual(['the passes lack B']);
  });
});

test('a pass that a stage has no plan for is refused by name', () => {
  const schedule = scheduleByName('1f1b', 'alg1');
  const part: StagePart = {
    floats: 4,
    executions: new Map([
      ['F', async () => ({})],
      ['B', async () => ({})],
    ]),
  };
  const run = () =>
    refuseWithoutExecution(
      schedule,
      schedule.actions(0, { ranks: 2, chunks: 1, microbatches: 2 }),
      new Map([
        [0, part],
        [2, { ...part, executions: new Map([['IF', async () => ({})]]) }],
        [3, part],
      ]),
    );
  expect(run).toThrow(LayoutError);
  expect(run).toThrow('schedule 1f1b: expected passes for which stage 3 has a plan here (F, B), got S');
});
