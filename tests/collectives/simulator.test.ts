// Seeded runs (1,000 with `npm run test:all`) of mixed collectives with faults under a virtual clock: no hang, no wrong
// result, no innocent culprit. A failing seed prints what is wrong.

import { expect, it } from 'vitest';
import { FAULTS, simulate, verdict } from '../support/collective-simulator.ts';
import { ALL } from '../support/sample.ts';

const RUNS = ALL ? 1000 : 300;

it(`${RUNS} seeded runs with faults: every rank has the right result or names the culprit, in time`, async () => {
  const wrong: string[] = [];
  const seen = new Map<string, number>();
  for (let seed = 1; seed <= RUNS; seed++) {
    const run = await simulate(seed);
    for (const { state } of run.outcomes)
      seen.set(`${run.fault}: ${state}`, (seen.get(`${run.fault}: ${state}`) ?? 0) + 1);
    const problem = verdict(run);
    if (problem !== undefined)
      wrong.push(`seed ${seed}, ${run.size} ranks, ${run.fault} at ${run.faultMs} ms: ${problem}`);
  }
  expect(wrong).toEqual([]);
  // Every fault was met, and mattered to many.
  for (const fault of FAULTS)
    expect(
      seen.get(`${fault}: ${fault === 'none' || fault === 'freeze short' ? 'right' : 'failed'}`),
      fault,
    ).toBeGreaterThan(0.04 * RUNS);
});
