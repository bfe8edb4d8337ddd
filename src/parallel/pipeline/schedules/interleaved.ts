// Interleaved 1F1B: rank r holds the stages r, p + r, 2p + r and so on, a v-th of its layers each. Microbatches go in
// groups of g >= p: all of a group through the first stages of the ranks, then through the second ones. Rank r runs 2(p
// - r - 1) + (v - 1) g warm-up forwards, then a forward and a backward in turn. Idle over ideal time (p - 1) / (v m);
// at most 2(p - 1) + (v - 1) p + 1 stages' activations on rank 0, each a v-th of a rank's. Source: Narayanan et al.
// 2021, "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM", section 2.2.2; group sizes
// as in Megatron-LM, megatron/core/pipeline_parallel/schedules.py.

import type { Action, PipelineShape, Schedule } from '../schedule.ts';
import { LayoutError } from '../../../base/errors.ts';

export const schedule: Schedule = {
  name: 'interleaved',
  passes: ['F', 'B'],
  defaultChunks: 2,
  check({ ranks: p, chunks, microbatches: m, group = Math.min(p, m) }) {
    if (chunks < 2)
      throw new LayoutError(`interleaved: expected at least 2 chunks per rank, got ${chunks}; use chunks=2`);
    if (group < Math.min(p, m))
      throw new LayoutError(`interleaved: expected groups of at least ${p} microbatches, got ${group}; use group=${p}`);
    if (m % group === 0) return;
    const below = m - (m % group);
    throw new LayoutError(
      `interleaved: expected microbatches that groups of ${group} divide, got ${m}; ` +
        `use microbatches=${below} or ${below + group}`,
    );
  },
  // A group larger than p is still in one chunk when its first microbatch comes back for the next.
  room: ({ ranks: p, microbatches: m, group = p }) => Math.max(1, Math.min(m, group) - p + 1),
  stageOf: (rank, chunk, { ranks }) => chunk * ranks + rank,
  actions(rank, shape) {
    const { ranks: p, chunks: v, microbatches: m } = shape;
    const group = shape.group ?? Math.min(p, m);
    const table = tableOf(shape, group);
    // Fewer microbatches than ranks: the first backward comes when all forwards are done.
    const warmUp = m < p ? m * v : Math.min(2 * (p - rank - 1) + (v - 1) * group, m * v);
    const actions: Action[] = [];
    for (let i = 0; i < m * v + warmUp; i++) {
      if (i < m * v) {
        const [chunk, microbatch] = table[i]!;
        actions.push({ kind: 'F', stage: chunk * p + rank, microbatch });
      }
      if (i >= warmUp) {
        const [chunk, microbatch] = table[i - warmUp]!;
        actions.push({ kind: 'B', stage: (v - 1 - chunk) * p + rank, microbatch });
      }
    }
    return actions;
  },
};

/** Chunk and microbatch of each forward of a rank; backwards go through the chunks the other way. */
function tableOf({ chunks, microbatches: m }: PipelineShape, group: number): (readonly [number, number])[] {
  const table: (readonly [number, number])[] = [];
  for (let first = 0; first < m; first += group)
    for (let chunk = 0; chunk < chunks; chunk++)
      for (let microbatch = first; microbatch < Math.min(m, first + group); microbatch++)
        table.push([chunk, microbatch]);
  return table;
}
