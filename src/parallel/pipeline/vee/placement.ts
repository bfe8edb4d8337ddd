// The V placement: two chunks per rank, the way there and back through the ranks. Rank r holds stages r and 2p - 1 - r,
// so the first rank has both ends of the network, and the turn of a microbatch lies inside the last one. Source: Qi et
// al. 2024, "Pipeline Parallelism with Controllable Memory", section 3.

import { LayoutError } from '../../../base/errors.ts';
import type { PipelineShape, Schedule } from '../schedule.ts';

/** What schedules of a V have in common. */
export function vee(name: string): Pick<Schedule, 'name' | 'passes' | 'defaultChunks' | 'check' | 'stageOf'> {
  return {
    name,
    passes: ['F', 'B', 'W'],
    defaultChunks: 2,
    check({ chunks }) {
      if (chunks !== 2) throw new LayoutError(`${name}: expected 2 chunks per rank, got ${chunks}; use chunks=2`);
    },
    stageOf: (rank, chunk, shape) => stageOfVee(rank, chunk, shape),
  };
}

export function stageOfVee(rank: number, chunk: number, { ranks: p }: Pick<PipelineShape, 'ranks'>): number {
  return chunk === 0 ? rank : 2 * p - 1 - rank;
}
