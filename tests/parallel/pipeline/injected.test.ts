// Every schedule, in every form of the vocabulary that it has, by the real executor over wires with a delay: a step
// takes what the simulator says within 10 %.

import { describe, expect, test } from 'vitest';
import { runInjected } from '../../../src/bench/pipeline/injected.ts';
import { scheduleByName, schedules, vocabularyForms } from '../../../src/parallel/pipeline/registry.ts';
import type { Action, PassKind, Schedule } from '../../../src/parallel/pipeline/schedule.ts';
import { simulate } from '../../../src/parallel/pipeline/simulate.ts';

const RANKS = 4;
const MICROBATCHES = 8;
/** Of a stage of blocks, or of this rank's shard of the vocabulary. */
const MS: Readonly<Record<PassKind, number>> = { IF: 2, F: 20, S: 8, S2: 3, T: 10, R: 20, B: 20, W: 20, IB: 2 };
const [rows, hidden] = [16, 64];
const DELAY = 1;
const WIRE = { delayMs: DELAY, bytesPerMs: (4 * rows * hidden) / 0.5 };

/** From the end of a pass until its result is there: a message, one or two exchanges between all, a chain of ranks. */
function comm(schedule: Schedule): (from: Action) => number {
  const message = DELAY + 0.5;
  const chain = (RANKS - 1) * message;
  return ({ kind }) => {
    if (kind === 'IF' || kind === 'T') return chain;
    if (kind === 'S2') return DELAY;
    if (kind !== 'S') return message;
    return schedule.passes.includes('S2') ? DELAY : 2 * DELAY + (schedule.headGradient === 'S' ? chain : 0);
  };
}

const CASES = [...schedules.keys()].flatMap((name) => vocabularyForms(name).map((form) => [name, form] as const));

describe('takes what the simulator says, within 10 %', () => {
  test.each(CASES)('%s, vocabulary %s', async (name, form) => {
    const schedule = scheduleByName(name, form);
    const shape = { ranks: RANKS, chunks: schedule.defaultChunks ?? 1, microbatches: MICROBATCHES };
    const split = schedule.passes.includes('W');
    const predicted = simulate(schedule, shape, { ...MS, comm: comm(schedule) });
    const { makespan, busy } = await runInjected({
      schedule,
      shape,
      ms: (kind) => MS[kind] + (kind === 'B' && !split ? MS.W : 0),
      wire: WIRE,
      rows,
      hidden,
    });
    expect(busy).toEqual(predicted.busy);
    const told = `${makespan} ms, predicted ${predicted.makespan} ms`;
    expect(Math.abs(makespan / predicted.makespan - 1), told).toBeLessThan(0.1);
  });
});

test('misses it where the simulator knows of no way between ranks', async () => {
  const schedule = scheduleByName('1f1b', 'alg1');
  const shape = { ranks: RANKS, chunks: schedule.defaultChunks ?? 1, microbatches: MICROBATCHES };
  const { makespan } = await runInjected({
    schedule,
    shape,
    ms: (kind) => MS[kind] + (kind === 'B' ? MS.W : 0),
    wire: { ...WIRE, delayMs: 10 },
    rows,
    hidden,
  });
  expect(makespan / simulate(schedule, shape, MS).makespan).toBeGreaterThan(1.1);
});
