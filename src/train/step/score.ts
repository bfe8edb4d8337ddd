// What a rank tells all others at the end of an evaluation: sums over its own targets, of which all ranks make the same
// mean loss and accuracy. One all-gather of 32 bytes from each rank; the counts are whole up to 2^53, so their sums are
// exact in every layout.

import { allGather } from '../../collectives/all-gather.ts';
import type { Group } from '../../collectives/group.ts';

export interface Score {
  /** Over the targets that count, and their number. */
  readonly lossSum: number;
  readonly tokens: number;
  /** Targets that are answers of a task, and how many of them are predicted. */
  readonly answers: number;
  readonly correct: number;
}

export const NO_SCORE: Score = { lossSum: 0, tokens: 0, answers: 0, correct: 0 };

const FIELDS = ['lossSum', 'tokens', 'answers', 'correct'] as const;
/** 32-bit words of a score. */
export const SCORE_WORDS = 2 * FIELDS.length;

/** The scores of all ranks, in their order. */
export async function shareScores(world: Group, own: Score): Promise<readonly Score[]> {
  const all = new Float64Array(FIELDS.length * world.size);
  const starts = Array.from({ length: world.size + 1 }, (_, rank) => rank * SCORE_WORDS);
  const words = new Uint32Array(Float64Array.from(FIELDS, (field) => own[field]).buffer);
  await allGather(world, words, starts, new Uint32Array(all.buffer));
  return Array.from(
    { length: world.size },
    (_, rank) =>
      Object.fromEntries(FIELDS.map((field, i) => [field, all[rank * FIELDS.length + i]!])) as unknown as Score,
  );
}
