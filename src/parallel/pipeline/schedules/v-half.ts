// V-Half: two chunks per rank in a V and the backward split, with about half the activations of 1F1B, the same on every
// rank: p + 2 chunks, or p + 1 where p is odd. Forwards of the first chunk go two units per rank, back one unit, so
// that a microbatch lives as long on every rank. A barrier of the vocabulary moves the backwards on by an interval, for
// two chunks more. Source: Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", section 3 and appendix; the
// unit pattern is that of sail-sg/zero-bubble-pipeline-parallelism.

import { blockSchedule } from '../vee/block-schedule.ts';
import { INTERVAL } from '../vee/squeeze.ts';

export const schedule = blockSchedule('v-half', (p, barriers) => {
  const wait = (p % 2 === 0 ? 3 : 0) + INTERVAL * barriers;
  return Array.from({ length: p }, (_, r) => [2 * r, 3 * p - r - 2, 3 * p + wait + 2 * r - 1, 6 * p + wait - r - 2]);
});
