// The contract of every file in src/parallel/pipeline/schedules: valid lists, no deadlock under any latency or channel
// capacity, the promised bubble and memory exactly, and a golden picture. A new schedule is covered at once; it has to
// bring its promise and its picture.

import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LayoutError } from '../../src/base/errors.ts';
import { hostsOf } from '../../src/parallel/pipeline/placement.ts';
import { renderSimulation } from '../../src/parallel/pipeline/render.ts';
import { schedules } from '../../src/parallel/pipeline/registry.ts';
import type { Action, PipelineShape, Schedule } from '../../src/parallel/pipeline/schedule.ts';
import { simulate, trySimulate } from '../../src/parallel/pipeline/simulate.ts';
import type { Simulation } from '../../src/parallel/pipeline/simulate.ts';
import { validate } from '../../src/parallel/pipeline/validate.ts';
import { randomNumbers } from '../support/random-numbers.ts';
import { ALL } from '../support/sample.ts';

/**
 * What a schedule promises: idle time of a rank over its ideal time (for passes of equal length), and activations in
 * flight.
 */
interface Promised {
  /** Undefined for shapes of which nothing is promised: then `peak` is a bound. */
  bubble(shape: PipelineShape): number | undefined;
  peak(rank: number, shape: PipelineShape): number;
  /** Slots of each class; where a rank has several chunks, the golden picture says them. */
  slots?(rank: number, shape: PipelineShape): Simulation['peakSlots'][number];
}

const PROMISED: Readonly<Record<string, Promised>> = {
  gpipe: {
    bubble: ({ ranks: p, microbatches: m }) => (p - 1) / m,
    peak: (_, { microbatches: m }) => m,
    slots: (_, { microbatches: m }) => ({ activation: m }),
  },
  '1f1b': {
    bubble: ({ ranks: p, microbatches: m }) => (p - 1) / m,
    peak: (r, { ranks: p, microbatches: m }) => Math.min(m, p - r),
    slots: (r, { ranks: p, microbatches: m }) => ({ activation: Math.min(m, p - r) }),
  },
  // (p - 1)(F + B - W) for m >= p. Of what B alone needs 1F1B's share; of what W needs p microbatches on every rank.
  'zb-h1': {
    bubble: ({ ranks: p, microbatches: m }) => (p - 1 + Math.max(0, p - m)) / (3 * m),
    peak: (_, { ranks: p, microbatches: m }) => Math.min(m, p),
    slots: (r, { ranks: p, microbatches: m }) => ({
      activation: Math.min(m, p - r),
      retained: Math.min(m, p),
      'output-gradient': Math.min(m, r + 1),
    }),
  },
  // F, and then R while the gradient is still on its way.
  'gpipe-remat': {
    bubble: ({ ranks: p, microbatches: m }) => (3 * (p - 1)) / (4 * m),
    peak: (_, { microbatches: m }) => m,
    slots: (_, { microbatches: m }) => ({ 'stage-input': m, activation: 1 }),
  },
  // With fewer microbatches than ranks, the chunks follow each other with gaps.
  interleaved: {
    bubble: ({ ranks: p, chunks: v, microbatches: m }) => (m < p ? v * (p - m) + m - 1 : p - 1) / (v * m),
    peak: (r, { ranks: p, chunks: v, microbatches: m }) =>
      Math.min(m * v, m < p ? m * v : 2 * (p - r - 1) + (v - 1) * p + 1),
  },
  // p - 1 for m >= 2p - 1: as long as the first forwards take to the last rank.
  'zb-v': {
    bubble: ({ ranks: p, microbatches: m }) => Math.max(p - 1, 4 * (p - 1) - 2 * (m - 1)) / (6 * m),
    peak: (r, { ranks: p, microbatches: m }) => Math.min(2 * p, 2 * m, m + 1 + r),
  },
  // 1, 5, 17 units idle for 2, 4, 8 ranks, and p + 2 chunks on every rank.
  'v-half': {
    bubble: ({ ranks: p, microbatches: m }) =>
      m < 2 * p ? undefined : (p === 1 ? 0 : p === 2 ? 1 : 3 * p - (p % 2 === 0 ? 7 : 4)) / (6 * m),
    peak: (_, { ranks: p, microbatches: m }) => Math.min(2 * m, p + (p % 2 === 0 ? 2 : 1)),
  },
  // 3, 11, 27 units idle and 4, 4, 8 chunks for 2, 4, 8 ranks.
  'v-min': {
    bubble: ({ ranks: p, microbatches: m }) =>
      m < 2 * p ? undefined : (p === 1 ? 0 : 4 * p - (p % 3 === 0 ? 7 : 5)) / (6 * m),
    peak: (r, { ranks: p, microbatches: m }) =>
      Math.min(2 * m, 2 * Math.floor((p + 4) / 3) - (p % 3 === 2 && r === 0 ? 1 : 0)),
  },
};

/** Microbatches fewer than, as many as, and not a multiple of the ranks; one rank; one microbatch. */
const SHAPES: readonly PipelineShape[] = [1, 2, 4].flatMap((chunks) =>
  [1, 2, 3, 4, 8].flatMap((ranks) =>
    [...new Set([1, Math.ceil(ranks / 2), ranks - 1, ranks, ranks + 1, 2 * ranks, 4 * ranks])]
      .filter((m) => m > 0)
      .map((microbatches) => ({ ranks, chunks, microbatches })),
  ),
);

function supported(schedule: Schedule): readonly PipelineShape[] {
  return SHAPES.filter((shape) => {
    try {
      schedule.check?.(shape);
      return true;
    } catch (error) {
      expect(error, 'check() refuses shapes with a LayoutError').toBeInstanceOf(LayoutError);
      return false;
    }
  });
}

const named = ({ ranks, chunks, microbatches }: PipelineShape) => `p=${ranks} v=${chunks} m=${microbatches}`;

const UNIT = { F: 1, R: 1, B: 1, W: 1 };

function picture(schedule: Schedule, shape: PipelineShape): string {
  const simulation = simulate(schedule, shape, UNIT);
  const slots = simulation.peakSlots.map((of) => Object.values(of).join('/')).join(' ');
  return [
    `${schedule.name} ${named(shape)}`,
    ...renderSimulation(schedule, shape, simulation),
    ...(shape.chunks > 1 ? [`slots ${Object.keys(simulation.peakSlots[0]).join('/')} by rank: ${slots}`] : []),
  ].join('\n');
}

/** Boundaries between stages that messages cross. */
const crossings = (schedule: Schedule, shape: PipelineShape): number => {
  const hosts = hostsOf(schedule, shape);
  return hosts.filter((host, stage) => stage > 0 && hosts[stage - 1] !== host).length;
};

it('finds the schedules in the folder', () => {
  expect([...schedules.keys()]).toEqual(expect.arrayContaining(['gpipe', '1f1b', 'zb-h1', 'interleaved', 'v-half']));
});

describe.each([...schedules.values()])('schedule $name', (schedule) => {
  const shapes = supported(schedule);
  const promised = PROMISED[schedule.name];

  it('supports a wide range of shapes and has an entry in PROMISED', () => {
    expect(shapes.length).toBeGreaterThan(8);
    const chunks = schedule.defaultChunks ?? 1;
    expect(shapes.some((shape) => shape.chunks === chunks)).toBe(true);
    expect(promised, `add the promise of ${schedule.name}`).toBeDefined();
  });

  it.each(shapes.map((shape) => [named(shape), shape] as const))(
    'is valid and keeps its promise exactly: %s',
    (_, shape) => {
      expect(validate(schedule, shape, { maxInFlight: (rank) => promised.peak(rank, shape) })).toEqual([]);
      const result = simulate(schedule, shape, UNIT);
      const bubble = promised.bubble(shape);
      if (bubble !== undefined) expect(result.bubble).toBe(bubble);
      const work = schedule.passes.includes('R') ? 4 : 3;
      for (let rank = 0; rank < shape.ranks; rank++) {
        if (bubble !== undefined)
          expect(result.peakLive[rank], `in flight on rank ${rank}`).toBe(promised.peak(rank, shape));
        if (promised.slots)
          expect(result.peakSlots[rank], `slots of rank ${rank}`).toEqual(promised.slots(rank, shape));
        expect(result.idle[rank] + result.busy[rank]).toBe(result.makespan);
        expect(result.busy[rank]).toBe(work * shape.chunks * shape.microbatches);
      }
    },
  );

  it('sums weight gradients in microbatch order, as a single rank does', () => {
    const kind = schedule.passes.includes('W') ? 'W' : 'B';
    for (const shape of shapes) {
      for (let rank = 0; rank < shape.ranks; rank++) {
        for (let stage = 0; stage < shape.ranks * shape.chunks; stage++) {
          const order = schedule
            .actions(rank, shape)
            .filter((action) => action.kind === kind && action.stage === stage)
            .map((action) => action.microbatch);
          expect(order).toEqual(order.map((__, i) => i));
        }
      }
    }
  });

  it('does not deadlock under random latencies and durations, with the smallest channels and larger ones', () => {
    const candidates = shapes.filter(({ ranks }) => ranks > 1);
    const random = randomNumbers(11);
    for (let trial = 0; trial < (ALL ? 1000 : 200); trial++) {
      const shape = candidates[trial % candidates.length];
      // One message in ten is slow by a factor of fifty.
      const comm = () => random() * (random() < 0.1 ? 50 : 1);
      const outcome = trySimulate(schedule, shape, {
        ...{ F: random(), R: random(), B: random(), W: random() },
        comm,
        capacity: (schedule.room?.(shape) ?? 1) + Math.floor(random() * 3),
      });
      if (!outcome.ok) throw new Error(`${named(shape)}, trial ${trial}: ${outcome.stuck.join('; ')}`);
      expect(outcome.simulation.messages).toBe(2 * crossings(schedule, shape) * shape.microbatches);
    }
  });

  it('looks like its golden picture', () => {
    const golden = new URL(`../golden/schedules/${schedule.name}.txt`, import.meta.url);
    const text = `${shapes
      .filter(({ chunks }) => chunks === (schedule.defaultChunks ?? 1))
      .filter(({ ranks: p, microbatches: m }) => p === 4 && (m === 2 || m === 8))
      .map((shape) => picture(schedule, shape))
      .join('\n\n')}\n`;
    expect(
      existsSync(golden),
      `check this picture by hand and save it as tests/golden/schedules/${schedule.name}.txt:\n${text}`,
    ).toBe(true);
    expect(text).toBe(readFileSync(golden, 'utf8'));
  });
});

describe('the contract catches seeded defects', () => {
  const shape = { ranks: 4, chunks: 1, microbatches: 8 };
  const good = schedules.get('1f1b')!;
  const changed = (change: (actions: Action[], rank: number) => Action[]): Schedule => ({
    ...good,
    actions: (rank, s) => change([...good.actions(rank, s)], rank),
  });
  const swap = (actions: Action[], i: number, j: number) => {
    [actions[i], actions[j]] = [actions[j], actions[i]];
    return actions;
  };
  const lists = (...text: string[]): Schedule => ({
    ...good,
    actions: (rank) =>
      text[rank]
        .split(' ')
        .map((word): Action => ({ kind: word[0] as 'F', stage: rank, microbatch: Number(word.slice(1)) })),
  });

  it('accepts the schedule it changes', () => {
    expect(validate(good, shape)).toEqual([]);
  });
  it('a lost action', () => {
    expect(
      validate(
        changed((actions, rank) =>
          rank === 2 ? actions.filter(({ kind, microbatch }) => kind !== 'B' || microbatch !== 5) : actions,
        ),
        shape,
      ),
    ).toEqual(['rank 2 never runs B5@2']);
  });
  it('an action listed twice', () => {
    expect(
      validate(
        changed((actions, rank) => (rank === 0 ? [...actions, actions[3]] : actions)),
        shape,
      ),
    ).toEqual(['rank 0 lists F3@0 twice']);
  });
  it('an action of another rank', () => {
    expect(
      validate(
        changed((actions, rank) => (rank === 1 ? [...actions, { kind: 'F', stage: 3, microbatch: 0 }] : actions)),
        shape,
      ),
    ).toEqual(['rank 1 lists F0@3: it holds only stage 1']);
  });
  it('a microbatch that does not exist, and a kind that the schedule does not have', () => {
    expect(
      validate(
        changed((actions, rank) =>
          rank === 1
            ? [...actions, { kind: 'F', stage: 1, microbatch: 8 }, { kind: 'W', stage: 1, microbatch: 0 }]
            : actions,
        ),
        shape,
      ),
    ).toEqual(['rank 1 lists F8@1: there are 8 microbatches', 'rank 1 lists W0@1: this stage has only F, B']);
  });
  it('a backward before its forward', () => {
    expect(
      validate(
        changed((actions, rank) => (rank === 3 ? swap(actions, 0, 1) : actions)),
        shape,
      ),
    ).toEqual(['rank 3 lists B0@3 before what it needs']);
  });
  it('a stage held twice and one held by nobody', () => {
    expect(validate({ ...good, stageOf: (rank) => Math.min(rank, 2) }, shape)[0]).toBe(
      'stage 2 is held twice: by chunk 0 of rank 2 and chunk 0 of rank 3',
    );
    expect(validate({ ...good, stageOf: (rank) => rank + 1 }, shape)[0]).toBe(
      'chunk 0 of rank 3 holds stage 4: expected 0 to 3',
    );
  });
  it('a deadlock between two ranks whose lists are each in order', () => {
    const problems = validate(lists('F0 B0 F1 B1', 'F0 F1 B0 B1'), { ranks: 2, chunks: 1, microbatches: 2 });
    expect(problems).toEqual([
      'deadlock: rank 0 waits with B0@0 for B0@1',
      'deadlock: rank 1 waits with F1@1 for F1@0',
    ]);
  });
  it('a deadlock that needs a full channel', () => {
    const crossed = lists('F0 F1 F2 B0 B1 B2', 'F2 F0 F1 B0 B1 B2');
    const small = { ranks: 2, chunks: 1, microbatches: 3 };
    expect(validate(crossed, small, { capacity: 3 })).toEqual([]);
    expect(validate(crossed, small, { capacity: 1 })[0]).toContain(
      'deadlock: rank 0 waits for room to send F1@0 to rank 1',
    );
  });
  it('one warm-up forward too many: memory', () => {
    const greedy = lists('F0 F1 F2 B0 B1 B2', 'F0 B0 F1 B1 F2 B2');
    expect(validate(greedy, { ranks: 2, chunks: 1, microbatches: 3 }, { maxInFlight: (rank) => 2 - rank })).toEqual([
      'rank 0 keeps 3 microbatches in flight: at most 2 expected',
    ]);
  });
  it('one warm-up forward too few: time', () => {
    const late = lists('F0 B0 F1 B1 F2 B2 F3 B3', 'F0 B0 F1 B1 F2 B2 F3 B3');
    const small = { ranks: 2, chunks: 1, microbatches: 4 };
    expect(validate(late, small)).toEqual([]);
    expect(simulate(late, small, { F: 1, B: 1, W: 1 }).bubble).toBeGreaterThan(PROMISED['1f1b'].bubble(small)!);
  });
});
