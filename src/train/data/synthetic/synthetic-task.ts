// Synthetic tasks with the interface of a dataset: small networks learn them in minutes, and their best loss is known.

import { ConfigError } from '../../../base/errors.ts';
import { RandomStream } from '../../../base/random.ts';
import { IGNORED } from '../../../model/language/token-rows.ts';
import { checkIndex, rows, type Dataset } from '../dataset.ts';

export interface SyntheticOptions {
  readonly context: number;
  readonly batch: number;
  readonly seed: number;
  /** Letters of the alphabet of a sequence, or the modulus of addition. */
  readonly symbols: number;
}

/** A file of tasks/ exports it as `task`. */
export interface SyntheticTask {
  /** As `data` takes it. */
  readonly name: string;
  /** How many symbols there are when nobody says it. */
  readonly symbols: number;
  /** ConfigError for a context that is too short. */
  dataset(options: SyntheticOptions): Dataset;
}

/** Batches of evaluation that a synthetic task offers. */
export const EVAL_BATCHES = 4;

/** A row is x, separator, `answer(x)`, and padding with the separator; x are random digits of a small alphabet. */
export function sequenceTask(name: string, answer: (x: readonly number[]) => readonly number[]): SyntheticTask {
  return {
    name,
    symbols: 16,
    dataset({ context: T, batch, seed, symbols }) {
      const length = Math.floor(T / 2);
      if (length < 1) throw new ConfigError('context', `the task ${name} needs a context of at least 2, got ${T}`);
      const separator = symbols;
      const draw = (stream: string) => {
        const random = new RandomStream(seed, stream);
        return (step: number) =>
          rows(batch, T, (row) => {
            const first = (checkIndex(step) * batch + row) * length;
            const x = Array.from({ length }, (_, i) => random.integer(first + i, symbols));
            const out = [...x, separator, ...answer(x)];
            while (out.length < T + 1) out.push(separator);
            return out;
          });
      };
      return {
        vocab: symbols + 1,
        batch,
        context: T,
        steps: Infinity,
        batchAt: draw(`data.${name}.train`),
        evalBatches: EVAL_BATCHES,
        evalAt: draw(`data.${name}.eval`),
        answersOf: answersAt(T, (column) => column > length && column <= 2 * length),
      };
    },
  };
}

/** The answers of a task whose windows [T + 1] have them in the same columns. */
export function answersAt(T: number, isAnswer: (column: number) => boolean): NonNullable<Dataset['answersOf']> {
  return (batch) => ({ ...batch, targets: batch.targets.map((token, i) => (isAnswer((i % T) + 1) ? token : IGNORED)) });
}
