// GPipe: all forwards, then all backwards. Idle over ideal time (p - 1) / m; all m microbatches are live at once on
// every rank. Backwards run in the order of the forwards, so that weight gradients are summed in microbatch order, as
// on a single rank. Source: Huang et al. 2019, "GPipe: Efficient Training of Giant Neural Networks using Pipeline
// Parallelism", section 2.3.

import type { Action, Schedule } from '../schedule.ts';
import { LayoutError } from '../../../base/errors.ts';

export const schedule: Schedule = {
  name: 'gpipe',
  passes: ['F', 'B'],
  check({ chunks }) {
    if (chunks !== 1) throw new LayoutError(`gpipe: expected 1 chunk per rank, got ${chunks}; use chunks=1`);
  },
  stageOf: (rank) => rank,
  actions(rank, { microbatches: m }) {
    const all = (kind: 'F' | 'B') =>
      Array.from({ length: m }, (_, microbatch): Action => ({ kind, stage: rank, microbatch }));
    return [...all('F'), ...all('B')];
  },
};
