// Nothing beside the training may end it: samples, evaluations and whoever takes the events. Samples do not depend on
// the layout.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { ShapeError } from '../../src/base/errors.ts';
import { worldSize } from '../../src/base/axis.ts';
import type { Group } from '../../src/collectives/group.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { Beside } from '../../src/train/beside/beside.ts';
import { Generator } from '../../src/train/beside/generate.ts';
import { describeEnd } from '../../src/train/describe-end.ts';
import { prepareLanguage } from '../../src/train/tasks/language/prepare.ts';
import type { PreparedLanguage } from '../../src/train/tasks/language/prepare.ts';
import type { RunFiles } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import type { RunEvent } from '../../src/train/run.ts';
import { charTokenizer } from '../../src/train/text/tokenizer.ts';
import { formatTokenizer } from '../../src/train/text/tokenizer-file.ts';
import { goldenModel } from '../support/local-run.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';

const hooks = vi.hoisted(() => ({
  prepared: undefined as ((run: PreparedLanguage) => PreparedLanguage) | undefined,
  draw: undefined as ((step: number) => void) | undefined,
  draws: 0,
}));
vi.mock('../../src/train/tasks/language/prepare.ts', async (original) => {
  const real = await original<typeof import('../../src/train/tasks/language/prepare.ts')>();
  const changed = (run: PreparedLanguage): PreparedLanguage => hooks.prepared?.(run) ?? run;
  return {
    ...real,
    prepare: (...given: Parameters<typeof real.prepareLanguage>) => changed(real.prepareLanguage(...given)),
    prepareLanguage: (...given: Parameters<typeof real.prepareLanguage>) => changed(real.prepareLanguage(...given)),
  };
});
vi.mock('../../src/train/beside/sampling.ts', async (original) => {
  const real = await original<typeof import('../../src/train/beside/sampling.ts')>();
  return {
    sampleToken: (...given: Parameters<typeof real.sampleToken>) => {
      hooks.draw?.(hooks.draws++);
      return real.sampleToken(...given);
    },
  };
});

afterEach(() => {
  Object.assign(hooks, { prepared: undefined, draw: undefined, draws: 0 });
  vi.restoreAllMocks();
});

const SAMPLE_TOKENS = 12;
const TEXT =
  'call me ishmael. some years ago, never mind how long precisely, having little or no money in my purse. '.repeat(8);

function config(layout: string, more: readonly (readonly [string, string])[] = []): RunConfig {
  const base = [
    ['model', 'gpt2-nano'],
    ['data', 'ishmael.txt'],
    ['context', '16'],
    ['layout', layout],
    ['batch', '4'],
    ['steps', '3'],
    ['evalEvery', '1'],
    ['sampleEvery', '1'],
  ] as const;
  return parseRunConfig([...base.filter(([name]) => !more.some(([other]) => other === name)), ...more]);
}

interface Told {
  readonly events: readonly (readonly RunEvent[])[];
  readonly error: Error | undefined;
}

async function run(
  setting: RunConfig,
  files: RunFiles = { text: TEXT },
  spoil: (event: RunEvent, rank: number) => void = () => {},
): Promise<Told> {
  const events: RunEvent[][] = Array.from({ length: worldSize(setting.layout) }, () => []);
  let error: Error | undefined;
  await runInProcess({
    backend: 'cpu',
    config: setting,
    files,
    wantModel: true,
    sampleTokens: SAMPLE_TOKENS,
    onEvent: (rank, event) => {
      spoil(event, rank);
      events[rank]!.push(event);
    },
  }).catch((reason: unknown) => {
    error = reason as Error;
  });
  return { events, error };
}

const kinds = (events: readonly RunEvent[], kind: RunEvent['kind']): readonly RunEvent[] =>
  events.filter((event) => event.kind === kind);
const texts = (events: readonly RunEvent[], kind: 'sample' | 'note'): readonly string[] =>
  kinds(events, kind).map((event) => (event as { text: string }).text);

function expectWholeRun({ events, error }: Told): void {
  expect(error).toBeUndefined();
  for (const own of events) expect([kinds(own, 'step').length, kinds(own, 'done').length]).toEqual([3, 1]);
  expect(kinds(events[0]!, 'model')).toHaveLength(1);
}

describe('the training goes on, and says so once on every rank, after', () => {
  test('samples of a model that knows more tokens than the tokenizer', async () => {
    const told = await run(
      {
        ...config('pp=2', [
          ['model', goldenModel('gpt2-tiny')],
          ['context', 'none'],
        ]),
      },
      { ...readRunFiles(goldenModel('gpt2-tiny')), text: TEXT, tokenizer: formatTokenizer(charTokenizer(TEXT)) },
    );
    expectWholeRun(told);
    // Every token drawn is one that the tokenizer has words for.
    for (const own of told.events) expect([texts(own, 'sample').length, texts(own, 'note').length]).toEqual([3, 0]);
  });

  test.each(['pp=2', 'sp=2', 'dp=2,tp=2'])('a token that cannot be drawn, in %s', async (layout) => {
    // In the middle of the second sample: the other ranks wait for the token.
    hooks.draw = (n) => {
      if (n === SAMPLE_TOKENS + 10) throw new ShapeError('sampling: logit 3 of 20 is NaN; the model has diverged');
    };
    const told = await run(config(layout));
    expectWholeRun(told);
    for (const own of told.events) {
      expect(texts(own, 'sample')).toHaveLength(2);
      expect(texts(own, 'note')).toHaveLength(1);
      expect(texts(own, 'note')[0]).toMatch(
        /^there is no sample \(sample: (sampling: logit 3 of 20 is NaN; the model has diverged|rank \d could not draw token 10)\)$/,
      );
    }
    expect(told.events.flatMap((own) => texts(own, 'note')).filter((text) => text.includes('logit 3'))).toHaveLength(1);
  });

  test('a sample that cannot be decoded, and data that cannot be read', async () => {
    hooks.prepared = (prepared) => ({
      ...prepared,
      tokenizer: {
        ...prepared.tokenizer!,
        decode: () => {
          throw new Error('no words');
        },
      },
      dataset: {
        ...prepared.dataset,
        evalAt: () => {
          throw new Error('no data');
        },
      },
    });
    const told = await run(config('pp=2'));
    expectWholeRun(told);
    for (const own of told.events) {
      const pair = ['the held-out data cannot be read (no data)', 'the sample cannot be decoded (no words)'];
      expect(texts(own, 'note')).toEqual([...pair, ...pair, ...pair]);
    }
  });

  test('one rank that cannot prepare samples', async () => {
    const create = Generator.create.bind(Generator);
    vi.spyOn(Generator, 'create').mockImplementation(async (trainer) => {
      if (trainer.options.mesh.rank === 1) throw new Error('no memory left');
      return create(trainer);
    });
    const told = await run(config('tp=2'));
    expectWholeRun(told);
    expect(texts(told.events[1]!, 'note')[0]).toBe(
      'there will be no samples: rank 1 cannot prepare them (no memory left)',
    );
    for (const own of told.events) {
      expect(texts(own, 'note')[0]).toMatch(/^there will be no samples: rank 1 cannot prepare them/);
      expect([texts(own, 'sample').length, kinds(own, 'evaluation').length]).toEqual([0, 3]);
    }
  });

  test('whoever shows events throws', async () => {
    const told = await run(config('dp=2'), undefined, (event, rank) => {
      if (rank === 0 && (event.kind === 'sample' || event.kind === 'evaluation'))
        throw new Error('no room on the screen');
    });
    expectWholeRun(told);
    expect(texts(told.events[0]!, 'note').slice(0, 2)).toEqual(
      ['evaluation', 'sample'].map((kind) => `what was told of the ${kind} could not be used (no room on the screen)`),
    );
    expect(texts(told.events[1]!, 'note')).toEqual([]);
  });

  test('whoever shows events throws at everything', async () => {
    let steps = 0;
    const { error } = await run(config('dp=1'), undefined, (event) => {
      if (event.kind === 'step') steps++;
      if (event.kind !== 'model') throw new Error('gone');
    });
    expect([steps, error]).toEqual([3, undefined]);
  });
});

test('a result that nobody could take is an error, but only when the run is over', async () => {
  const { events, error } = await run(config('dp=2', [['checkpointEvery', '1']]), undefined, (event) => {
    if (event.kind === 'checkpoint' && event.step === 1) throw new Error('the disk is full');
  });
  expect(error?.message).toBe('the disk is full');
  for (const own of events) expect([kinds(own, 'step').length, kinds(own, 'done').length]).toEqual([3, 1]);
  expect(kinds(events[0]!, 'checkpoint').map((event) => (event as { step: number }).step)).toEqual([2, 3]);
});

describe('the same sample in every layout', () => {
  const sampled = async (
    model: string,
    layout: string,
    more: readonly (readonly [string, string])[] = [],
  ): Promise<string> => {
    const { events, error } = await run(
      config(layout, [
        ['model', model],
        ['steps', '2'],
        ['sampleEvery', '2'],
        ['evalEvery', '0'],
        ['lr', '0.01'],
        ...more,
      ]),
    );
    expect(error).toBeUndefined();
    const samples = events.map((own) => texts(own, 'sample'));
    expect(new Set(samples.map(String)).size, `ranks of ${layout}`).toBe(1);
    expect(samples[0]).toHaveLength(1);
    return samples[0]![0]!;
  };

  const references = new Map<string, Promise<string>>();
  const alone = (model: string): Promise<string> => {
    const known = references.get(model) ?? sampled(model, 'dp=1');
    references.set(model, known);
    return known;
  };

  test.each([
    ...['dp=2', 'pp=2', 'tp=2', 'sp=2', 'sp=4', 'dp=2,sp=2', 'pp=2,sp=2'].map((layout) => ['gpt2-nano', layout]),
    ...['ep=2', 'dp=2'].map((layout) => ['mixtral-nano', layout]),
  ])('%s, %s', async (model, layout) => {
    const text = await sampled(model!, layout!);
    expect(text.length).toBeGreaterThan(5);
    expect(text).toBe(await alone(model!));
  });

  test('which another seed changes', async () => {
    expect(await sampled('gpt2-nano', 'dp=1', [['seed', '2']])).not.toBe(await alone('gpt2-nano'));
  });
});

test('the first sample holds the deadlines while it compiles, and for nothing else', async () => {
  const create = Generator.create.bind(Generator);
  const told: string[] = [];
  vi.spyOn(Generator, 'create').mockImplementation(async (trainer) => {
    const generator = await create(trainer);
    told.push('compiled');
    return generator;
  });
  const setting = config('dp=1');
  const prepared = prepareLanguage(setting, { text: TEXT });
  allOf(
    await onTrainers(
      setting,
      async ({ trainer }) => {
        const beside = new Beside({
          trainer,
          generator: () => Generator.create(trainer),
          prepared,
          seed: 1,
          wantsSamples: true,
          sampleTokens: 1,
          tell: ({ kind }) => told.push(kind),
          holdDuring: async (work) => {
            told.push('held');
            try {
              return await work;
            } finally {
              told.push('free');
            }
          },
        });
        for (let i = 0; i < 2; i++) await beside.sample();
      },
      { files: { text: TEXT } },
    ),
  );
  expect(told).toEqual(['held', 'compiled', 'free', 'sample', 'sample']);
});

test('evaluations number their messages apart from training steps', async () => {
  // 2 microbatches over 2 stages: numbers that begin at 3 * 2^30 steps would wrap onto those of step 0.
  const seen: (readonly [string, string, number])[] = [];
  const ranks = await onTrainers(
    config('pp=2', [['microbatches', '2']]),
    async ({ trainer }) => {
      await trainer.trainStep();
      const batch = trainer.options.batchAt(1);
      const first = await trainer.evaluate(batch);
      expect(await trainer.evaluate(batch)).toEqual(first);
      return first;
    },
    {
      files: { text: TEXT },
      change: (options, rank) => ({
        ...options,
        mesh: {
          ...options.mesh,
          scope: (name) => {
            const scope = options.mesh.scope(name);
            const group = scope.axis('pp');
            const heard: Group = {
              ...group,
              begin: (kind, seq) => {
                if (rank === 0 && kind === 'activation') seen.push([name, kind, seq!]);
                return group.begin(kind, seq);
              },
            };
            return { ...scope, axis: () => heard };
          },
        },
      }),
    },
  );
  expect(allOf(ranks)[0]!.tokens).toBe(64);
  expect(seen.map(([name]) => name)).toEqual([
    'pipeline forward',
    'pipeline forward',
    'evaluation',
    'evaluation',
    'evaluation',
    'evaluation',
  ]);
  expect(new Set(seen.map(String)).size).toBe(seen.length);
});

test('the end of a run counts the steps of this run', () => {
  const end = (steps: number, from: number, stopped: boolean): string =>
    describeEnd({ kind: 'done', steps, from, stopped });
  expect([end(60, 0, false), end(100, 60, false), end(1, 0, true), end(66, 60, true)]).toEqual([
    'trained 60 steps',
    'trained 40 steps, 100 in all',
    'stopped after 1 step',
    'stopped after 6 steps, 66 in all',
  ]);
});
