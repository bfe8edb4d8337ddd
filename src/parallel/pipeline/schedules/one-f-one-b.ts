// 1F1B: rank r runs p - r - 1 warm-up forwards, then one forward and one backward in turn, then the cool-down
// backwards. Idle over ideal time (p - 1) / m as in GPipe, but at most p - r microbatches are live on rank r, however
// many there are. Source: Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU Clusters Using
// Megatron-LM", section 2.2.1.

import type { Action, Schedule } from '../schedule.ts';
import { LayoutError } from '../../../base/errors.ts';
import { sharedVocabulary } from '../vocabulary/one-f-one-b.ts';

export const schedule: Schedule = {
  name: '1f1b',
  passes: ['F', 'B'],
  check({ chunks }) {
    if (chunks !== 1) throw new LayoutError(`1f1b: expected 1 chunk per rank, got ${chunks}; use chunks=1`);
  },
  withVocabulary: (form) => sharedVocabulary(schedule, form),
  stageOf: (rank) => rank,
  actions(rank, { ranks: p, microbatches: m }) {
    const warmUp = Math.min(p - rank - 1, m);
    const actions: Action[] = [];
    for (let i = 0; i < m + warmUp; i++) {
      if (i < m) actions.push({ kind: 'F', stage: rank, microbatch: i });
      if (i >= warmUp) actions.push({ kind: 'B', stage: rank, microbatch: i - warmUp });
    }
    return actions;
  },
};
