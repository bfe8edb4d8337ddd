// One microbatch at a time through all ranks, forward and back: the least memory, and p times the time of one rank.

import type { Action, Schedule } from '../../../src/parallel/pipeline/schedule.ts';
import { LayoutError } from '../../../src/base/errors.ts';

export const schedule: Schedule = {
  name: 'one-by-one',
  passes: ['F', 'B'],
  check({ chunks }) {
    if (chunks !== 1) throw new LayoutError(`one-by-one: expected 1 chunk per rank, got ${chunks}; use chunks=1`);
  },
  stageOf: (rank) => rank,
  actions: (rank, { microbatches: m }) =>
    Array.from({ length: m }, (_, microbatch) =>
      (['F', 'B'] as const).map((kind): Action => ({ kind, stage: rank, microbatch })),
    ).flat(),
};
