// The accuracy of a task: the share of its answers whose token has the largest logit. Every layout counts what one
// device counts, and one device what the definition says of its logits; a tie for the largest is right; text has none.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { worldSize } from '../../src/base/axis.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import type { RankLanguageModel } from '../../src/train/tasks/language/language-model.ts';
import { InferenceStage } from '../../src/model/language/inference.ts';
import { describeEvaluation, formatAccuracy } from '../../src/train/describe-end.ts';
import { prepareLanguage } from '../../src/train/tasks/language/prepare.ts';
import type { RunFiles } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import type { RunEvent } from '../../src/train/run.ts';
import { SCORE_WORDS } from '../../src/train/step/score.ts';
import { SYNTHETIC_NAMES, syntheticDataset } from '../../src/train/data/synthetic/registry.ts';
import type { Evaluation, Trainer } from '../../src/train/trainer.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';
import type { LabOptions } from '../support/trainer-lab.ts';
import type { Batch } from '../../src/train/data/batch.ts';
import { windowsOf } from '../support/windows.ts';
import { CHUNKS, expectPredicted } from './predicted-targets.ts';

// Defects: a rank that looks only at its own shard of the vocabulary, and counts that take all targets for answers.
const hooks = vi.hoisted(() => ({ ownShardOnly: false, everyTarget: false }));
vi.mock('../../src/collectives/all-reduce.ts', async (original) => {
  const real = await original<typeof import('../../src/collectives/all-reduce.ts')>();
  return {
    ...real,
    allReduce: async (...given: Parameters<typeof real.allReduce>) => {
      if (!hooks.ownShardOnly || given[2]?.reduction !== 'max') await real.allReduce(...given);
    },
  };
});
afterEach(() => {
  Object.assign(hooks, { ownShardOnly: false, everyTarget: false });
});

const [T, BATCH, STEPS] = [16, 8, 4];

/** Columns of a row [T + 1] of copy, reverse and sort that hold answers. */
const ANSWER_COLUMNS = [9, 10, 11, 12, 13, 14, 15, 16];

type Settings = readonly (readonly [string, string])[];

function config(model: string, data: string, layout: string, more: Settings = []): RunConfig {
  return parseRunConfig([
    ['model', model],
    ['data', data],
    ['layout', layout],
    ['context', String(T)],
    ['batch', String(BATCH)],
    ['steps', String(STEPS)],
    ['lr', '0.01'],
    ...more,
  ]);
}

interface Counts {
  readonly answers: number;
  readonly correct: number;
  /** How far the nearest is from a tie. */
  readonly margin: number;
}

/** What the definition says of the logits of one device. */
async function defined(trainer: Trainer, batch: Batch, vocab: number): Promise<Counts> {
  const windows = windowsOf(batch);
  const inference = await InferenceStage.create(trainer.stages.get(0)!, trainer.engine.task as RankLanguageModel);
  let [answers, correct, margin] = [0, 0, Infinity];
  for (let row = 0; row < BATCH; row++) {
    const tokens = windows.slice(row * (T + 1), (row + 1) * (T + 1));
    const logits = await inference.forward(Uint32Array.from(tokens.subarray(0, T)));
    const width = logits.length / T;
    for (const column of ANSWER_COLUMNS) {
      const all = [...logits.subarray((column - 1) * width, (column - 1) * width + vocab)];
      const target = tokens[column]!;
      const others = Math.max(...all.filter((_, token) => token !== target));
      answers++;
      if (all[target]! >= others) correct++;
      margin = Math.min(margin, Math.abs(all[target]! - others));
    }
  }
  inference.dispose();
  return { answers, correct, margin };
}

interface Scored {
  readonly evaluation: Evaluation;
  /** The same batch without answers. */
  readonly unscored: Evaluation;
  /** What the rank sent in either. */
  readonly bytes: readonly Readonly<Record<string, number>>[];
  readonly want: Counts | undefined;
}

const zero: LabOptions = {
  change: (options) => ({
    ...options,
    weights: (name) => {
      const { shape, data } = options.weights(name);
      return { shape, data: new Float32Array(data.length) };
    },
  }),
};

/** Trains `steps` steps, then evaluates with and without answers; of every rank. */
async function scored(setting: RunConfig, steps = STEPS, options?: LabOptions): Promise<readonly Scored[]> {
  const { dataset, model } = prepareLanguage(setting, {});
  const batch = dataset.evalAt(0);
  const answers = hooks.everyTarget ? batch : dataset.answersOf!(batch);
  return allOf(
    await onTrainers(
      setting,
      async ({ trainer, mesh }) => {
        while (trainer.step < steps) await trainer.trainStep();
        const { ledger } = trainer.options;
        const sent = async <R>(work: () => Promise<R>): Promise<readonly [R, Record<string, number>]> => {
          const before = ledger.sentByKind();
          const result = await work();
          const kinds = Object.entries(ledger.sentByKind());
          const more = kinds.map(([kind, bytes]) => [kind, bytes - (before[kind] ?? 0)] as const);
          return [result, Object.fromEntries(more.filter(([, bytes]) => bytes > 0))];
        };
        const [evaluation, first] = await sent(() => trainer.evaluate(batch, answers));
        const [unscored, second] = await sent(() => trainer.evaluate(batch));
        const want = mesh.size === 1 ? await defined(trainer, batch, model.vocab) : undefined;
        return { evaluation, unscored, bytes: [first, second], want };
      },
      options,
    ),
  );
}

const known = new Map<string, Promise<Scored>>();
const alone = (model: string, data: string): Promise<Scored> => {
  const key = `${model} ${data}`;
  const run = known.get(key) ?? scored(config(model, data, 'dp=1')).then(([one]) => one!);
  known.set(key, run);
  return run;
};

async function expectAlike(model: string, data: string, layout: string): Promise<void> {
  const { want } = await alone(model, data);
  const ranks = await scored(config(model, data, layout, layout.includes('pp') ? [['microbatches', '2']] : []));
  const score = { answers: want!.answers, correct: want!.correct };
  for (const { evaluation } of ranks) expect(evaluation.score).toEqual(score);
  for (const { evaluation, unscored, bytes } of ranks) {
    expect(unscored).toEqual({ loss: evaluation.loss, tokens: BATCH * T });
    // Answers cost no byte.
    expect(bytes[0]).toEqual(bytes[1]);
  }
  // Replicas of one stage exchange nothing else.
  const formula = { 'all-gather': 4 * SCORE_WORDS * (ranks.length - 1) };
  if (layout === 'dp=2') for (const { bytes } of ranks) expect(bytes[0]).toEqual(formula);
}

const LAYOUTS = {
  'gpt2-nano copy': ['dp=2', 'pp=2', 'tp=2', 'tp=4', 'sp=4', 'dp=2,pp=2', 'pp=2,tp=2', 'tp=2,sp=2'],
  'llama-nano reverse': ['tp=2', 'sp=2', 'dp=2,tp=2', 'pp=2,sp=2'],
  'mixtral-nano sort': ['ep=2', 'ep=2,tp=2', 'pp=2,ep=2'],
};
const RUNS = Object.keys(LAYOUTS).map((run) => run.split(' ') as [model: string, data: string]);
const CASES = Object.entries(LAYOUTS).flatMap(([run, layouts]) =>
  layouts.map((layout) => [...run.split(' '), layout] as [model: string, data: string, layout: string]),
);

describe('one device counts what the definition says', () => {
  test.each(RUNS)('%s learns %s', async (model, data) => {
    const { evaluation, want } = await alone(model, data);
    expect(evaluation.score).toEqual({ answers: want!.answers, correct: want!.correct });
    expect(want!.answers).toBe(BATCH * ANSWER_COLUMNS.length);
    expect(want!.correct).toBeGreaterThan(0);
    expect(want!.correct).toBeLessThan(want!.answers);
    // Layouts differ in last bits: far from a tie these decide nothing.
    expect(want!.margin).toBeGreaterThan(1e-4);
  });
  test.each(CHUNKS)('also where logits are equal, in chunks of %i columns', async (chunk) => {
    await expectPredicted(createCpuDevice(), chunk);
  });
});

describe('every layout counts what one device counts', () => {
  test.each(CASES)('%s learns %s with %s', expectAlike);

  test.each(['dp=1', 'tp=2', 'tp=4', 'pp=2,sp=2'])('%s: a tie for the largest logit is right', async (layout) => {
    const all = BATCH * ANSWER_COLUMNS.length;
    const ranks = await scored(config('gpt2-nano', 'copy', layout), 0, zero);
    for (const { evaluation } of ranks) expect(evaluation.score).toEqual({ answers: all, correct: all });
  });
});

describe('the checks catch', () => {
  test.each(['tp=2', 'tp=4'])('a largest logit of one shard only, %s', async (layout) => {
    await alone('gpt2-nano', 'copy');
    hooks.ownShardOnly = true;
    await expect(expectAlike('gpt2-nano', 'copy', layout)).rejects.toThrow('correct');
  });
  test.each(['dp=2', 'sp=4'])('targets that are no answers, %s', async (layout) => {
    await alone('gpt2-nano', 'copy');
    hooks.everyTarget = true;
    await expect(expectAlike('gpt2-nano', 'copy', layout)).rejects.toThrow('answers');
  });
});

test.each(SYNTHETIC_NAMES)('the answers of %s follow from what stands before them, and nothing else is one', (task) => {
  for (const context of [T, 2 * T + 1]) {
    const d = syntheticDataset({ task, context, batch: 4, seed: 3, symbols: 7 });
    const batch = d.batchAt(2);
    const answers = d.answersOf!(batch).targets;
    for (let row = 0; row < 4; row++) {
      const rowOf = (flat: Int32Array): number[] => [...flat.subarray(row * (context + 1), (row + 1) * (context + 1))];
      // Column 0 of a row is no target.
      const tokens = rowOf(windowsOf(batch));
      const asked = [-100, ...answers.subarray(row * context, (row + 1) * context)];
      const half = Math.floor(context / 2);
      // Of `a + b = c` with p = 7, 8 is the sign before c.
      const isSum = (i: number): boolean => tokens[i - 1] === 8 && i % 5 === 4;
      const isAnswer = (i: number): boolean => (task === 'addition' ? isSum(i) : i > half && i <= 2 * half);
      expect(asked).toEqual(tokens.map((token, i) => (isAnswer(i) ? token : -100)));
      expect(asked.some((token) => token !== -100)).toBe(true);
    }
  }
});

describe('a run', () => {
  type Told = Extract<RunEvent, { kind: 'evaluation' }>;
  const evaluations = async (setting: RunConfig, files: RunFiles = {}): Promise<readonly (readonly Told[])[]> => {
    const told = Array.from({ length: worldSize(setting.layout) }, (): Told[] => []);
    const onEvent = (rank: number, event: RunEvent): void => {
      if (event.kind === 'evaluation') told[rank]!.push(event);
    };
    await runInProcess({ backend: 'cpu', config: setting, files, onEvent });
    return told;
  };
  test('tells the accuracy of a task over all answers of the held-out batches, the same on all ranks', async () => {
    const [first, second] = await evaluations(config('gpt2-nano', 'sort', 'dp=2', [['evalEvery', '2']]));
    expect(first).toHaveLength(2);
    expect(second).toEqual(first);
    for (const { accuracy } of first!) expect(Math.abs((accuracy! * 4 * BATCH * ANSWER_COLUMNS.length) % 1)).toBe(0);
  });
  test('tells none of a text', async () => {
    const setting = config('gpt2-nano', 'a.txt', 'dp=1', [['evalEvery', '4']]);
    const [told] = await evaluations(setting, { text: 'call me ishmael. '.repeat(40) });
    expect(told!.map((event) => Object.keys(event))).toEqual([['kind', 'step', 'loss']]);
  });
});

test('people read it as a percentage, and 100.0 % only if all is right', () => {
  expect([0, 0.5625, 0.984, 0.9996, 1].map(formatAccuracy)).toEqual(['0.0 %', '56.3 %', '98.4 %', '99.9 %', '100.0 %']);
  const task = { kind: 'evaluation', step: 1, loss: 0.1234, accuracy: 0.984 } as const;
  expect(describeEvaluation(task)).toBe('held-out loss 0.1234, accuracy 98.4 %');
  expect(describeEvaluation({ kind: 'evaluation', step: 1, loss: 2.1 })).toBe('held-out loss 2.1000');
});
