// Synthetic tasks with the interface of a dataset: small networks learn them in minutes, and their best loss is known.
// A row of copy, reverse or sort is x, separator, f(x) (and padding with the separator), x random digits of a small
// alphabet. A row of addition packs `a + b = c` with c = (a + b) mod p; some pairs (a, b) are held out, as in grokking
// (Power et al. 2022).

import { ConfigError } from '../../base/errors.ts';
import { RandomStream } from '../../base/random.ts';
import { IGNORED } from './batch.ts';
import { checkIndex, checkSizes, rows, type Dataset } from './dataset.ts';

export const TASK_NAMES = ['copy', 'reverse', 'sort', 'addition'] as const;
export type TaskName = (typeof TASK_NAMES)[number];

export interface TaskOptions {
  readonly task: TaskName;
  readonly context: number;
  readonly batch: number;
  readonly seed: number;
  /** Letters of the alphabet (copy, reverse, sort; default 16) or the modulus p (addition; default 31). */
  readonly symbols?: number;
  /** Share of the pairs of addition that is held out; default 0.2. The other tasks draw fresh rows for evaluation. */
  readonly evalFraction?: number;
}

/** Batches of evaluation that a task offers. */
const EVAL_BATCHES = 4;

export function taskDataset({
  task,
  context,
  batch,
  seed,
  symbols = task === 'addition' ? 31 : 16,
  evalFraction = 0.2,
}: TaskOptions): Dataset {
  checkSizes(context, batch);
  if (!(Number.isSafeInteger(symbols) && symbols >= 2 && symbols <= 1000))
    throw new ConfigError('symbols', `expected 2 to 1000, got ${symbols}`);
  return task === 'addition'
    ? addition(context, batch, seed, symbols, evalFraction)
    : sequenceTask(task, context, batch, seed, symbols);
}

const ANSWERS: Readonly<Record<Exclude<TaskName, 'addition'>, (x: readonly number[]) => readonly number[]>> = {
  copy: (x) => x,
  reverse: (x) => x.toReversed(),
  sort: (x) => x.toSorted((a, b) => a - b),
};

function sequenceTask(
  task: Exclude<TaskName, 'addition'>,
  T: number,
  batch: number,
  seed: number,
  symbols: number,
): Dataset {
  const length = Math.floor(T / 2);
  if (length < 1) throw new ConfigError('context', `the task ${task} needs a context of at least 2, got ${T}`);
  const separator = symbols;
  const draw = (stream: string) => {
    const random = new RandomStream(seed, stream);
    return (step: number) =>
      rows(batch, T, (row) => {
        const first = (checkIndex(step) * batch + row) * length;
        const x = Array.from({ length }, (_, i) => random.integer(first + i, symbols));
        const out = [...x, separator, ...ANSWERS[task](x)];
        while (out.length < T + 1) out.push(separator);
        return out;
      });
  };
  return {
    vocab: symbols + 1,
    batch,
    context: T,
    steps: Infinity,
    batchAt: draw(`data.${task}.train`),
    evalBatches: EVAL_BATCHES,
    evalAt: draw(`data.${task}.eval`),
    answersOf: answersAt(T, (column) => column > length && column <= 2 * length),
  };
}

function addition(T: number, batch: number, seed: number, p: number, evalFraction: number): Dataset {
  const perRow = Math.floor((T + 1) / 5);
  if (perRow < 1) throw new ConfigError('context', `the task addition needs a context of at least 4, got ${T}`);
  const [plus, equals, pad] = [p, p + 1, p + 2];
  const pairs = shuffled(p * p, seed);
  const held = Math.floor(pairs.length * evalFraction);
  if (!(evalFraction >= 0 && held < pairs.length))
    throw new ConfigError('evalFraction', `expected a share from 0 to below 1, got ${evalFraction}`);
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
}

/** The answers of a task whose windows [T + 1] have them in the same columns. */
function answersAt(T: number, isAnswer: (column: number) => boolean): NonNullable<Dataset['answersOf']> {
  return (batch) => ({ ...batch, targets: batch.targets.map((token, i) => (isAnswer((i % T) + 1) ? token : IGNORED)) });
}

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
