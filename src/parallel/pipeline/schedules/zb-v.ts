// ZB-V: two chunks per rank in a V and the backward split, so that a rank has work for every gap where F = B = W; as
// many activations as 1F1B on its first rank, 2p chunks, on every rank. Rank r runs forwards until its second chunk has
// something to do, then F, B and W in turn of one chunk and the other; the last W fill the cool-down. Sources: Qi et
// al. 2024, "Zero Bubble Pipeline Parallelism", section 6; the order is that of PyTorch's
// torch.distributed.pipelining, ScheduleZBVZeroBubble.

import type { Action, Schedule } from '../schedule.ts';
import { stageOfVee, vee } from '../vee/placement.ts';

type Kind = 'F' | 'B' | 'W';

export const schedule: Schedule = {
  ...vee('zb-v'),
  actions(rank, shape) {
    const { ranks: p, microbatches: m } = shape;
    // The order is one for at least 2p - 1 microbatches; what there is not is left out of it.
    const all = Math.max(m, 2 * p - 1);
    const stages = [stageOfVee(rank, 0, shape), stageOfVee(rank, 1, shape)];
    const next = { F: [0, 0], B: [0, 0], W: [0, 0] };
    const actions: Action[] = [];
    const add = (kind: Kind, chunk: 0 | 1): void => {
      const microbatch = next[kind][chunk]!++;
      if (microbatch < m) actions.push({ kind, stage: stages[chunk]!, microbatch });
    };
    const repeat = (count: number, ...steps: readonly (readonly [Kind, 0 | 1])[]): void => {
      for (let i = 0; i < count; i++) for (const [kind, chunk] of steps) add(kind, chunk);
    };
    repeat(2 * (p - rank) - 1, ['F', 0]);
    repeat(rank, ['F', 1], ['F', 0]);
    repeat(p - rank, ['F', 1], ['B', 1], ['W', 1]);
    while (next.F[1]! < next.F[0]! || next.F[0]! < all) {
      if (next.F[0]! < all) add('F', 0);
      repeat(1, ['B', 0], ['W', 0], ['F', 1], ['B', 1], ['W', 1]);
    }
    repeat(rank, ['B', 0], ['B', 1]);
    repeat(p - rank, ['B', 0], ['W', 0]);
    repeat(next.B[1]! - next.W[1]!, ['W', 1]);
    repeat(next.B[0]! - next.W[0]!, ['W', 0]);
    return actions;
  },
};
