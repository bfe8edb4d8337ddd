// A row packs `a + b = c` with c = (a + b) mod p; some pairs (a, b) are held out, as in grokking (Power et al. 2022).

import { ConfigError } from '../../../../base/errors.ts';
import { RandomStream } from '../../../../base/random.ts';
import { checkIndex, rows } from '../../dataset.ts';
import { answersAt, EVAL_BATCHES } from '../synthetic-task.ts';
import type { SyntheticTask } from '../synthetic-task.ts';

/** Share of the pairs that only evaluations see. The other tasks draw fresh rows for them. */
const HELD_OUT = 0.2;

export const task: SyntheticTask = {
  name: 'addition',
  symbols: 31,
  dataset({ context: T, batch, seed, symbols: p }) {
    const perRow = Math.floor((T + 1) / 5);
    if (perRow < 1) throw new ConfigError('context', `the task addition needs a context of at least 4, got ${T}`);
    const [plus, equals, pad] = [p, p + 1, p + 2];
    const pairs = shuffled(p * p, seed);
    const held = Math.floor(pairs.length * HELD_OUT);
    const draw = (stream: string, choice: Uint32Array) => {
      const random = new RandomStream(seed, stream);
      return (step: number) =>
        rows(batch, T, (row) => {
          const out: number[] = [];
          for (let i = 0; i < perRow; i++) {
            const pair = choice[random.integer((checkIndex(step) * batch + row) * perRow + i, choice.length)]!;
            const a = Math.floor(pair / p),
              b = pair % p;
            out.push(a, plus, b, equals, (a + b) % p);
          }
          while (out.length < T + 1) out.push(pad);
          return out;
        });
    };
    return {
      vocab: p + 3,
      batch,
      context: T,
      steps: Infinity,
      batchAt: draw('data.addition.train', pairs.subarray(held)),
      evalBatches: held ? EVAL_BATCHES : 0,
      evalAt: draw('data.addition.eval', pairs.subarray(0, held)),
      answersOf: answersAt(T, (column) => column % 5 === 4 && column < 5 * perRow),
    };
  },
};

/** 0 to n - 1 in a seeded order (Fisher and Yates). */
function shuffled(n: number, seed: number): Uint32Array<ArrayBuffer> {
  const random = new RandomStream(seed, 'data.addition.split');
  const out = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = random.integer(i, i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
