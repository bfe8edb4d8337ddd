// ZB-H1: 1F1B with the backward split. B goes on to the previous rank at once; W waits where that helps, on rank r up
// to r of them, so that gaps of the cool-down are filled and every rank has at most p microbatches between F and W.
// Idle time (p - 1)(F + B - W) for m >= p, a third of 1F1B's where F = B = W. What B alone needs is kept for p - r
// microbatches as in 1F1B. W runs in the order of microbatches. Source: Qi et al. 2024, "Zero Bubble Pipeline
// Parallelism", section 2.1.

import type { Action, Schedule } from '../schedule.ts';
import { LayoutError } from '../../../base/errors.ts';

export const schedule: Schedule = {
  name: 'zb-h1',
  passes: ['F', 'B', 'W'],
  check({ chunks }) {
    if (chunks !== 1) throw new LayoutError(`zb-h1: expected 1 chunk per rank, got ${chunks}; use chunks=1`);
  },
  stageOf: (rank) => rank,
  actions(rank, { ranks: p, microbatches: m }) {
    const warmUp = Math.min(p - rank - 1, m);
    const actions: Action[] = [];
    const add = (kind: 'F' | 'B' | 'W', microbatch: number): void => {
      actions.push({ kind, stage: rank, microbatch });
    };
    for (let i = 0; i < m + warmUp; i++) {
      if (i < m) add('F', i);
      if (i >= warmUp) add('B', i - warmUp);
      if (i >= warmUp + rank) add('W', i - warmUp - rank);
    }
    for (let i = Math.max(0, m - rank); i < m; i++) add('W', i);
    return actions;
  },
};
