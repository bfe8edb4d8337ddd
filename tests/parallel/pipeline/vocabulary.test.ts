// Vocabulary parallelism on 1F1B: makespan and memory of the paper exactly, for each form; barriers counted; no
// deadlock under any latency with the smallest channels.

import { describe, expect, it, test } from 'vitest';
import { ConfigError } from '../../../src/base/errors.ts';
import { FORMS } from '../../../src/parallel/pipeline/vocabulary/forms.ts';
import { checkSchedule, scheduleByName, vocabularyForms } from '../../../src/parallel/pipeline/registry.ts';
import { VOCABULARY_FORMS } from '../../../src/parallel/pipeline/schedule.ts';
import type { Action, PipelineShape, Schedule, SharedForm } from '../../../src/parallel/pipeline/schedule.ts';
import { simulate, trySimulate } from '../../../src/parallel/pipeline/simulate.ts';
import { validate } from '../../../src/parallel/pipeline/validate.ts';
import { ALL } from '../../support/sample.ts';
import { randomNumbers } from '../../support/random-numbers.ts';

const SHARED = VOCABULARY_FORMS.filter((form): form is SharedForm => form !== 'none');
const shapes = (ranks: readonly number[]): PipelineShape[] =>
  ranks.flatMap((p) => [2, 4, 8].map((n) => ({ ranks: p, chunks: 1, microbatches: n * p })));
// F = 1 and a whole backward of 2; S and T are short.
const TIMING = { F: 1, B: 1, W: 1, S: 0.25, S2: 0.125, T: 0.5, IF: 0, IB: 0 };

/** Makespan above that of m(3 + s + t) + 3(p - 1), and microbatches in flight above those of 1F1B. */
const PROMISED: Readonly<Record<'alg1' | 'alg2', { more: number; flight: number }>> = {
  alg1: { more: 0, flight: 2 },
  alg2: { more: -TIMING.T, flight: 1 },
};

describe.each(['alg1', 'alg2'] as const)('1f1b with %s', (form) => {
  it.each(shapes([2, 3, 4, 8]))('$ranks ranks, $microbatches microbatches', (shape) => {
    const { ranks: p, microbatches: m } = shape;
    const { makespan, peakLive } = simulate(scheduleByName('1f1b', form), shape, TIMING);
    expect(makespan).toBe(m * (3 + 0.25 + 0.5) + 3 * (p - 1) + PROMISED[form].more);
    expect(peakLive).toEqual(Array.from({ length: p }, (_, r) => p + PROMISED[form].flight - r));
  });
});

test.each(shapes([2, 3, 4, 8]))('interlaced 1f1b keeps 1.5 p: $ranks ranks, $microbatches microbatches', (shape) => {
  const { ranks: p, microbatches: m } = shape;
  const { makespan, peakLive } = simulate(scheduleByName('1f1b', 'interlaced'), shape, TIMING);
  expect(makespan).toBe(m * (3 + 0.25 + 0.5) + 3 * (p - 1));
  expect(peakLive[0]).toBe(Math.ceil(1.5 * p));
});

test.each(shapes([2, 3, 4, 8]))('naive 1f1b has p + 3 - r in flight: $ranks ranks, $microbatches', (shape) => {
  const { ranks: p, microbatches: m } = shape;
  const { makespan, peakLive } = simulate(scheduleByName('1f1b', 'naive'), shape, TIMING);
  // The third interval costs T once where the pipeline is long.
  const more = p < 4 ? 0 : TIMING.T;
  expect(makespan).toBe(m * (3 + 0.25 + 0.125 + 0.5) + 3 * (p - 1) + more);
  expect(peakLive).toEqual(Array.from({ length: p }, (_, r) => Math.min(m, p + 3 - r)));
});

/** Barriers that a microbatch meets between F and B of the last stage: the passes of the head that others wait for. */
function barriers({ passes, headGradient }: Schedule): number {
  const head = passes.filter((kind) => ['S', 'S2', 'T'].includes(kind));
  return head.indexOf(headGradient!) + 1;
}

describe.each(SHARED)('form %s', (form) => {
  const schedule = scheduleByName('1f1b', form);

  it('has the barriers that it says', () => {
    expect(barriers(schedule)).toBe(FORMS[form].barriers);
    expect([schedule.name, schedule.vocabulary]).toEqual(['1f1b', form]);
    expect(scheduleByName('1f1b', form)).toBe(schedule);
  });

  it('is valid with channels of one message, with fewer microbatches than ranks, too', () => {
    for (const ranks of [1, 2, 3, 4, 5, 8])
      for (const microbatches of [1, 2, Math.max(1, ranks - 1), ranks, 3 * ranks])
        expect(validate(schedule, { ranks, chunks: 1, microbatches }), `p=${ranks} m=${microbatches}`).toEqual([]);
  });

  it('does not deadlock under random latencies and durations with channels of 1 to 3 messages', () => {
    const random = randomNumbers(14);
    for (let trial = 0; trial < (ALL ? 1000 : 100); trial++) {
      const ranks = 2 + (trial % 4);
      const shape = { ranks, chunks: 1, microbatches: 1 + (trial % (3 * ranks)) };
      const times = Object.fromEntries(schedule.passes.map((kind) => [kind, random()]));
      const outcome = trySimulate(schedule, shape, {
        ...{ F: 1, B: 1, W: 1, ...times },
        comm: () => random() * (random() < 0.1 ? 50 : 1),
        capacity: 1 + Math.floor(random() * 3),
      });
      if (!outcome.ok) throw new Error(`p=${ranks} m=${shape.microbatches}: ${outcome.stuck.join('; ')}`);
    }
  });

  it('sums weight gradients in microbatch order on every rank', () => {
    for (const kind of ['B', 'T', 'IB'])
      for (let rank = 0; rank < 4; rank++) {
        const order = schedule
          .actions(rank, { ranks: 4, chunks: 1, microbatches: 9 })
          .filter((action) => action.kind === kind);
        expect(order.map(({ microbatch }) => microbatch)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
      }
  });
});

describe('seeded defects', () => {
  const shape = { ranks: 4, chunks: 1, microbatches: 16 };
  const makespan = (schedule: Schedule): number => simulate(schedule, shape, TIMING).makespan;
  const changed = (form: SharedForm, change: (actions: Action[], rank: number) => Action[]): Schedule => {
    const good = scheduleByName('1f1b', form);
    return { ...good, actions: (rank, s) => change([...good.actions(rank, s)], rank) };
  };

  test('one forward too few before the first backward', () => {
    const short = changed('alg1', (actions, rank) => {
      if (rank !== 0) return actions;
      const first = actions.findIndex(({ kind }) => kind === 'B');
      const last = actions.slice(0, first).findLastIndex(({ kind }) => kind === 'F');
      const [forward] = actions.splice(last, 1);
      return actions.toSpliced(first, 0, forward!);
    });
    expect(validate(short, shape)).toEqual([]);
    expect(makespan(short)).toBeGreaterThan(makespan(scheduleByName('1f1b', 'alg1')));
  });

  test('the vocabulary as soon as it may run', () => {
    const greedy = changed('alg2', (actions) => {
      // T right after S of its microbatch: it waits for the barrier, and all that follows with it.
      const rest = actions.filter(({ kind }) => kind !== 'T');
      return rest.flatMap((action) => (action.kind === 'S' ? [action, { ...action, kind: 'T' as const }] : [action]));
    });
    expect(validate(greedy, shape, { capacity: Infinity })).toEqual([]);
    expect(makespan(greedy)).toBeGreaterThan(makespan(scheduleByName('1f1b', 'alg2')));
  });

  test('S and T of a microbatch swapped', () => {
    const swapped = changed('naive', (actions, rank) => {
      if (rank !== 2) return actions;
      return actions.map((action) =>
        action.microbatch !== 3 || !['S', 'T'].includes(action.kind)
          ? action
          : { ...action, kind: action.kind === 'S' ? 'T' : 'S' },
      );
    });
    expect(validate(swapped, shape)).toEqual(
      expect.arrayContaining(['rank 2 lists S2.3@5 before what it needs', 'rank 2 lists T3@5 before what it needs']),
    );
  });
});

describe('the registry', () => {
  it('says which forms a schedule has', () => {
    expect(vocabularyForms('1f1b')).toEqual([...VOCABULARY_FORMS]);
  });

  it('refuses others by name', () => {
    const wrong = () => scheduleByName('zb-h1', 'interlaced');
    expect(wrong).toThrow(ConfigError);
    expect(wrong).toThrow("vocab: expected none with schedule zb-h1, got 'interlaced'");
    const check = () =>
      checkSchedule({ schedule: '1f1b', layout: { pp: 2 }, chunks: 2, microbatches: 4, vocab: 'alg1' });
    expect(check).toThrow('1f1b: expected 1 chunk per rank, got 2');
  });
});
