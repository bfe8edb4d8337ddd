// Vocabulary passes on 1F1B as data, for tests: S and T of every rank between the forwards and backwards of its blocks,
// T of a microbatch in one slot with S of the next. With 'T' two barriers per microbatch (Vocab-1), with 'S' one
// (Vocab-2). The order is that of the released code of Yeung et al. 2025, "Balancing Pipeline Parallelism with
// Vocabulary Parallelism", for backwards that take at least as long as forwards.

import type { Action, Schedule } from '../../src/parallel/pipeline/schedule.ts';

/** What a rank does in a round of the steady state: backward, vocabulary slot, forward; or backward, forward, slot. */
type Round = 'BSF' | 'BFS';

/** By rank: its round, and how many vocabulary slots more than the last rank it runs before its first backward. */
function rounds(p: number, f: number, b: number): { round: readonly Round[]; extra: readonly number[] } {
  const round = new Array<Round>(p);
  let offset = 0;
  let given: Round | undefined;
  for (let r = p - 1; r >= 0; r--) {
    if (given) {
      round[r] = given;
      given = undefined;
    } else if (offset - f >= -b) {
      offset -= f;
      round[r] = 'BSF';
    } else {
      round[r] = 'BFS';
      offset += b - f;
      given = 'BSF';
    }
  }
  const extra = new Array<number>(p).fill(0);
  for (let r = p - 2; r >= 0; r--) extra[r] = extra[r + 1]! + (round[r + 1] === 'BFS' && round[r] === 'BSF' ? 0 : 1);
  return { round, extra };
}

/** `f` and `b`: how long a forward and a whole backward take. `embedding`: all ranks share that too. */
export function vocabularySchedule(
  headGradient: 'S' | 'T',
  { f = 1, b = 2, embedding = false }: { f?: number; b?: number; embedding?: boolean } = {},
): Schedule {
  return {
    name: headGradient === 'T' ? 'vocab-1' : 'vocab-2',
    passes: [...(embedding ? (['IF', 'IB'] as const) : []), 'F', 'S', 'T', 'B'],
    headGradient,
    stageOf: (rank) => rank,
    actions(rank, { ranks: p, microbatches: m }) {
      const { round, extra } = rounds(p, f, b);
      const actions: Action[] = [];
      const head = embedding ? p + 1 : p;
      const next = { IF: 0, F: 0, B: 0, IB: 0, slot: 0 };
      const add = (kind: Action['kind'], stage: number, microbatch: number): void => {
        actions.push({ kind, stage, microbatch });
      };
      const forward = (): void => {
        if (next.F === m) return;
        // Rank 0 is `rank` forwards ahead; the embedding of a microbatch is there a round before it needs it.
        while (embedding && next.IF < Math.min(m, next.F + 2 + rank)) add('IF', p, next.IF++);
        add('F', rank, next.F++);
      };
      const slot = (): void => {
        if (next.slot > m) return;
        if (next.slot > 0) add('T', head, next.slot - 1);
        if (next.slot < m) add('S', head, next.slot);
        next.slot++;
      };
      for (let i = 0; i < p - rank; i++) forward();
      slot();
      forward();
      if (headGradient === 'T') {
        slot();
        forward();
      }
      for (let i = 0; i < extra[rank]!; i++) slot();
      while (next.B < m) {
        add('B', rank, next.B++);
        if (round[rank] === 'BSF') slot();
        forward();
        if (round[rank] === 'BFS') slot();
        // Rank 0 is `rank` backwards behind; what it sends is taken a round after it was made.
        if (embedding && next.IB < next.B - 1 - rank) add('IB', p, next.IB++);
      }
      while (next.slot <= m) slot();
      if (embedding) while (next.IB < m) add('IB', p, next.IB++);
      return actions;
    },
  };
}
