// GPipe with re-materialisation: a rank keeps the inputs of its stage alone, and makes what B needs again right before
// it. All m stage inputs are live at once on every rank, and the activations of one microbatch. Backwards run in the
// order of the forwards, as in gpipe. Source: Huang et al. 2019, "GPipe: Efficient Training of Giant Neural Networks
// using Pipeline Parallelism", section 2.3.

import type { Action, Schedule } from '../schedule.ts';
import { LayoutError } from '../../../base/errors.ts';

export const schedule: Schedule = {
  name: 'gpipe-remat',
  passes: ['F', 'R', 'B'],
  check({ chunks }) {
    if (chunks !== 1) throw new LayoutError(`gpipe-remat: expected 1 chunk per rank, got ${chunks}; use chunks=1`);
  },
  stageOf: (rank) => rank,
  actions(rank, { microbatches: m }) {
    const all = (...kinds: Action['kind'][]): Action[] =>
      Array.from({ length: m }, (_, microbatch) => kinds.map((kind) => ({ kind, stage: rank, microbatch }))).flat();
    return [...all('F'), ...all('R', 'B')];
  },
};
