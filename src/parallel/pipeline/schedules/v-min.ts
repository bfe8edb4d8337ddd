// V-Min: two chunks per rank in a V and the backward split, with about a third of the activations of 1F1B, the same on
// every rank: (2p + 4) / 3 chunks or so, for more idle time than V-Half. A microbatch goes one unit per rank there and
// back. A barrier of the vocabulary moves the backwards on by an interval. Source: Qi et al. 2024, "Pipeline
// Parallelism with Controllable Memory", section 3 and appendix; the unit pattern is that of
// sail-sg/zero-bubble-pipeline-parallelism.

import { blockSchedule } from '../vee/block-schedule.ts';
import { INTERVAL } from '../vee/squeeze.ts';

export const schedule = blockSchedule('v-min', (p, barriers) => {
  const wait = (p % 3 === 0 ? 2 : 0) + INTERVAL * barriers;
  return Array.from({ length: p }, (_, r) => [r, 2 * p - r - 1, 2 * p + wait + r, 4 * p + wait - r - 1]);
});
