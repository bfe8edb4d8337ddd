// Vocabulary parallelism: on 1F1B and in a V makespan and memory of the paper exactly; every schedule with every form:
// valid, barriers counted, no deadlock under any latency with the smallest channels.

import { describe, expect, it, test } from 'vitest';
import { ConfigError, LayoutError } from '../../../src/base/errors.ts';
import { FORMS } from '../../../src/parallel/pipeline/vocabulary/forms.ts';
import { checkSchedule, scheduleByName, schedules, vocabularyForms } from '../../../src/parallel/pipeline/registry.ts';
import { VOCABULARY_FORMS } from '../../../src/parallel/pipeline/schedule.ts';
import type {
  Action,
  PipelineShape,
  Schedule,
  SharedForm,
  VocabularyForm,
} from '../../../src/parallel/pipeline/schedule.ts';
import { simulate, trySimulate } from '../../../src/parallel/pipeline/simulate.ts';
import { validate } from '../../../src/parallel/pipeline/validate.ts';
import { ALL } from '../../support/sample.ts';
import { randomNumbers } from '../../support/random-numbers.ts';

const shapes = (ranks: readonly number[]): PipelineShape[] =>
  ranks.flatMap((p) => [2, 4, 8].map((n) => ({ ranks: p, chunks: 1, microbatches: n * p })));
// F = 1 and a whole backward of 2; S and T are short.
const TIMING = { F: 1, R: 1, B: 1, W: 1, S: 0.25, S2: 0.125, T: 0.5, IF: 0, IB: 0 };

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

describe.each(['v-half', 'v-min'])('%s with a shared vocabulary', (name) => {
  it.each([2, 4, 8])('keeps two chunks more per barrier on every rank: %i ranks', (p) => {
    const shape = { ranks: p, chunks: 2, microbatches: 4 * p };
    const free = { ...TIMING, S: 0, S2: 0, T: 0 };
    const peaks = (form: VocabularyForm) => simulate(scheduleByName(name, form), shape, free).peakLive;
    const plain = Math.max(...peaks('none'));
    if (name === 'v-half') expect(plain).toBe(p + 2);
    for (const [form, barriers] of [
      ['alg2', 1],
      ['alg1', 2],
      ['naive', 3],
    ] as const) {
      expect(Math.max(...peaks(form))).toBe(plain + 2 * barriers);
      expect(Math.min(...peaks(form))).toBeGreaterThanOrEqual(plain + 2 * barriers - 1);
    }
  });
});

/** Idle time of rank 0 with 4p microbatches, in units of F, and microbatches (or chunks) in flight, by ranks. */
const IDLE: Readonly<Record<string, Readonly<Record<string, readonly (readonly [number, number])[]>>>> = {
  gpipe: {
    alg2: [
      [3, 8],
      [9, 16],
      [21, 32],
    ],
    alg1: [
      [3, 8],
      [9, 16],
      [21, 32],
    ],
  },
  'zb-h1': {
    alg2: [
      [1, 3],
      [3, 5],
      [7, 9],
    ],
    alg1: [
      [1.5, 4],
      [4, 6],
      [8.5, 10],
    ],
  },
  'zb-v': {
    alg2: [
      [1, 5],
      [4, 9],
      [8, 17],
    ],
    alg1: [
      [1, 6],
      [4, 10],
      [9.5, 18],
    ],
  },
  interleaved: {
    alg2: [
      [3, 6],
      [9, 12],
      [21, 24],
    ],
    alg1: [
      [3, 7],
      [9.5, 13],
      [22.5, 25],
    ],
  },
};

describe.each(Object.keys(IDLE))('%s with a shared vocabulary', (name) => {
  it.each(['alg2', 'alg1'] as const)('is hardly longer than without: %s', (form) => {
    const schedule = scheduleByName(name, form);
    const chunks = schedule.defaultChunks ?? 1;
    const times = { ...TIMING, S: 0.25 * chunks, T: 0.5 * chunks };
    for (const [i, p] of [2, 4, 8].entries()) {
      const { makespan, busy, peakLive } = simulate(schedule, { ranks: p, chunks, microbatches: 4 * p }, times);
      expect([makespan - busy[0]!, peakLive[0]], `${p} ranks`).toEqual(IDLE[name]![form]![i]);
    }
  });
});

/** Barriers that a microbatch meets between F and B of the last stage: the passes of the head that others wait for. */
function barriers({ passes, headGradient }: Schedule): number {
  const head = passes.filter((kind) => ['S', 'S2', 'T'].includes(kind));
  return head.indexOf(headGradient!) + 1;
}

const ALL_FORMS = [...schedules.keys()].flatMap((name) =>
  vocabularyForms(name).flatMap((form) => (form === 'none' ? [] : [{ name, form }])),
);

/** Of a schedule: as many microbatches as it takes, fewer than ranks among them. */
function shapesOf(schedule: Schedule, ranks: readonly number[]): PipelineShape[] {
  const chunks = schedule.defaultChunks ?? 1;
  return ranks.flatMap((p) =>
    [...new Set([1, 2, p - 1, p, p + 1, p + 2, 2 * p, 3 * p + 1, 4 * p])].flatMap((microbatches) => {
      const shape = { ranks: p, chunks, microbatches };
      if (microbatches < 1) return [];
      try {
        schedule.check?.(shape);
        return [shape];
      } catch (error) {
        expect(error).toBeInstanceOf(LayoutError);
        return [];
      }
    }),
  );
}

describe.each(ALL_FORMS)('$name with $form', ({ name, form }) => {
  const schedule = scheduleByName(name, form);

  it('has the barriers that it says, as many collectives, and messages to all ranks', () => {
    expect(barriers(schedule)).toBe(form === 'interlaced' ? 2 : FORMS[form].barriers);
    expect([schedule.name, schedule.vocabulary]).toEqual([name, form]);
    expect(scheduleByName(name, form)).toBe(schedule);
    const [p, m, chunks] = [4, 8, schedule.defaultChunks ?? 1];
    const { barriers: collectives } = simulate(schedule, { ranks: p, chunks, microbatches: m }, TIMING);
    // Those of the head that something waits for, and the sum of the embedding.
    const waited = { naive: 3, alg1: 2, alg2: 1, interlaced: 2 }[form];
    expect(collectives).toBe((waited + 1) * m);
  });

  it('is valid with the smallest channels, with fewer microbatches than ranks, too', () => {
    for (const shape of shapesOf(schedule, ALL ? [1, 2, 3, 4, 5, 6, 7, 8, 12] : [1, 2, 3, 4, 8]))
      expect(validate(schedule, shape), JSON.stringify(shape)).toEqual([]);
  });

  it('does not deadlock under random latencies and durations', () => {
    const random = randomNumbers(14);
    const shapes = shapesOf(schedule, [2, 3, 4, 5]);
    for (let trial = 0; trial < (ALL ? 1000 : 100); trial++) {
      const shape = shapes[trial % shapes.length]!;
      const times = Object.fromEntries(schedule.passes.map((kind) => [kind, random()]));
      const outcome = trySimulate(schedule, shape, {
        ...{ F: 1, B: 1, W: 1, ...times },
        comm: () => random() * (random() < 0.1 ? 50 : 1),
        capacity: (schedule.room?.(shape) ?? 1) + Math.floor(random() * 3),
      });
      if (!outcome.ok) throw new Error(`${JSON.stringify(shape)}: ${outcome.stuck.join('; ')}`);
    }
  });

  it('sums weight gradients in microbatch order on every rank', () => {
    const shape = { ranks: 4, chunks: schedule.defaultChunks ?? 1, microbatches: 8 };
    const ordered = [schedule.passes.includes('W') ? 'W' : 'B', 'T', 'IB'];
    for (let rank = 0; rank < 4; rank++) {
      const actions = schedule.actions(rank, shape).filter(({ kind }) => ordered.includes(kind));
      for (const at of new Set(actions.map(({ stage, kind }) => `${kind} ${stage}`))) {
        const order = actions.filter(({ stage, kind }) => `${kind} ${stage}` === at);
        expect(order.map(({ microbatch }) => microbatch)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      }
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
    for (const name of schedules.keys())
      expect(vocabularyForms(name)).toEqual(expect.arrayContaining(['alg1', 'alg2']));
  });

  it('refuses others by name', () => {
    const wrong = () => scheduleByName('zb-h1', 'interlaced');
    expect(wrong).toThrow(ConfigError);
    expect(wrong).toThrow("vocab: expected none or naive or alg1 or alg2 with schedule zb-h1, got 'interlaced'");
    const check = () =>
      checkSchedule({ schedule: '1f1b', layout: { pp: 2 }, chunks: 2, microbatches: 4, vocab: 'alg1' });
    expect(check).toThrow('1f1b: expected 1 chunk per rank, got 2');
  });
});
