// Where batches come from. batchAt(step) is a pure function of (seed, step), row by row, so every rank and every layout
// sees the same batch and may draw only the rows that it needs. Text: windows at random places of the training part;
// evaluation walks the last part window by window. Tasks are in tasks.ts.

import { ConfigError, InternalError } from '../../base/errors.ts';
import { RandomStream } from '../../base/random.ts';
import type { TaskData } from '../tasks/task.ts';
import { IGNORED } from '../../model/language/token-rows.ts';
import { batchOf } from './batch.ts';
import type { Batch } from './batch.ts';

/** Rows of tokens. `answersOf`: of a synthetic task, a target is an answer if it follows from what stands before it. */
export interface Dataset extends TaskData<Batch> {
  /** Every token is below it. */
  readonly vocab: number;
  /** T, tokens per row that the network reads. */
  readonly context: number;
  /** Its batches have documents. */
  readonly packed?: boolean;
}

export interface TextOptions {
  readonly tokens: ArrayLike<number> & { subarray(begin: number, end: number): ArrayLike<number> };
  readonly vocab: number;
  readonly context: number;
  readonly batch: number;
  readonly seed: number;
  /** Share of the tokens, from the end, that is held out; default 0.1. */
  readonly evalFraction?: number;
  /** False: nobody asks for the held-out part, so that a text too short for one is used whole. Default true. */
  readonly evaluates?: boolean;
}

export function textDataset({
  tokens,
  vocab,
  context: T,
  batch,
  seed,
  evalFraction = 0.1,
  evaluates = true,
}: TextOptions): Dataset {
  checkSizes(T, batch);
  if (!(evalFraction >= 0 && evalFraction < 1))
    throw new ConfigError('evalFraction', `expected a share from 0 to below 1, got ${evalFraction}`);
  checkTokens(tokens, vocab, 'text');
  const share = Math.floor(tokens.length * evalFraction);
  // Evaluated or not, a text that is long enough is cut alike: the batches do not depend on what is done beside the
  // training.
  const held = !evaluates && share < T + 1 ? 0 : share;
  const train = tokens.length - held;
  if (train < T + 1)
    throw new ConfigError(
      'context',
      `a context of ${T} needs ${T + 1} tokens, but the training text has ${train} of ${tokens.length}; use a longer text${train >= 2 ? ` or a context of at most ${train - 1}` : ''}`,
    );
  if (evaluates && evalFraction > 0 && held < T + 1) {
    throw new ConfigError(
      'context',
      `a context of ${T} needs ${T + 1} tokens to evaluate on, but the held-out text has ${held} of ${tokens.length}; ` +
        `use a text of ${Math.ceil((T + 1) / evalFraction)} tokens or more, ${held >= 2 ? `a context of at most ${held - 1}` : 'a shorter context'}, or no evaluation (evalEvery 0)`,
    );
  }
  const random = new RandomStream(seed, 'data.train');
  // Window w of the held-out part; neighbours share one token, which is target of one and input of the next.
  const windows = held < T + 1 ? 0 : Math.floor((held - 1) / T);
  return {
    vocab,
    batch,
    context: T,
    steps: Infinity,
    batchAt: (step) =>
      rows(batch, T, (row) => {
        const start = random.integer(checkIndex(step) * batch + row, train - T);
        return tokens.subarray(start, start + T + 1);
      }),
    evalBatches: windows === 0 ? 0 : Math.max(1, Math.floor(windows / batch)),
    evalAt: (index) =>
      rows(batch, T, (row) => {
        if (windows === 0) throw new InternalError('evalAt of a dataset without held-out rows');
        const start = train + ((checkIndex(index) * batch + row) % windows) * T;
        return tokens.subarray(start, start + T + 1);
      }),
  };
}

/** A batch from windows of T + 1 tokens. */
export function rows(batch: number, T: number, window: (row: number) => ArrayLike<number>): Batch {
  const out = new Int32Array(batch * (T + 1));
  for (let b = 0; b < batch; b++) out.set(window(b), b * (T + 1));
  return batchOf(out, batch, T);
}

export function checkSizes(T: number, batch: number): void {
  for (const [name, value] of [
    ['context', T],
    ['batch', batch],
  ] as const) {
    if (!(Number.isSafeInteger(value) && value >= 1))
      throw new ConfigError(name, `expected a whole number of at least 1, got ${value}`);
  }
}

export function checkIndex(index: number): number {
  if (!(Number.isSafeInteger(index) && index >= 0))
    throw new InternalError(`a step must be a whole number of at least 0, got ${index}`);
  return index;
}

export function checkTokens(
  tokens: ArrayLike<number>,
  vocab: number,
  where: string,
  place = (i: number): string => `token ${i}`,
): void {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (token === IGNORED)
      throw new ConfigError(
        'vocab',
        `${where}: ${place(i)} is ${IGNORED}, which marks a target that is not counted; such marks stand in a tensor targets, not in tokens`,
      );
    if (token < 0) throw new ConfigError('vocab', `${where}: ${place(i)} is ${token}; expected 0 or more`);
    if (token >= vocab)
      throw new ConfigError('vocab', `${where}: ${place(i)} is ${token}, but the model knows 0 to ${vocab - 1}`);
  }
}
