import type { Action, Schedule } from '../../src/parallel/pipeline/schedule.ts';

/** Two chunks per rank in a V: rank r holds stages r and 2p - 1 - r; weights apart. Only for tests. */
export const vee: Schedule = {
  name: 'vee',
  passes: ['F', 'B', 'W'],
  stageOf: (rank, chunk, { ranks: p }) => (chunk === 0 ? rank : 2 * p - 1 - rank),
  actions(rank, { ranks: p, microbatches: m }) {
    const stages = [rank, 2 * p - 1 - rank];
    const all = (kind: Action['kind'], order: readonly number[]) =>
      order.flatMap((stage) => Array.from({ length: m }, (_, microbatch): Action => ({ kind, stage, microbatch })));
    return [...all('F', stages), ...all('B', [...stages].reverse()), ...all('W', stages)];
  },
};
