import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.ts';
import { parseJson, type JsonObject } from '../../src/base/json.ts';
import { makeLayout } from '../../src/train/layout.ts';
import {
  formatRunConfig,
  parseRunConfig,
  readRunJson,
  RUN_FIELDS,
  type RunConfig,
} from '../../src/train/run-config.ts';

const parse = (settings: Record<string, unknown>, base?: RunConfig): RunConfig =>
  parseRunConfig(Object.entries(settings), base);
const defaults = parse({});

describe('parseRunConfig', () => {
  it('has a default for every field, and every default reads back', () => {
    for (const key of Object.keys(RUN_FIELDS) as (keyof RunConfig)[]) {
      expect(defaults[key]).toEqual(RUN_FIELDS[key].preset);
      expect(RUN_FIELDS[key].read(RUN_FIELDS[key].preset, key)).toEqual(RUN_FIELDS[key].preset);
    }
  });

  it('reads text as a command line or a link has it', () => {
    const link = new URLSearchParams(
      'model=llama-nano&layout=dp=2,pp=2&lr=3e-4&betas=0.9,0.99&grad-clip=none&weight_decay=0&context=32&evalEvery=0',
    );
    expect(parseRunConfig(link)).toEqual({
      ...defaults,
      model: 'llama-nano',
      layout: makeLayout({ dp: 2, pp: 2 }),
      lr: 3e-4,
      betas: [0.9, 0.99],
      gradClip: null,
      weightDecay: 0,
      context: 32,
      evalEvery: 0,
    });
  });

  it('reads JSON, as plain objects and as Maps', () => {
    const settings = {
      layout: { tp: 2 },
      lr: { peak: 0.1, warmupSteps: 3, decay: 'cosine', floor: 0.01 },
      betas: [0.5, 0.6],
      steps: 7,
      context: null,
    };
    const want = { ...defaults, ...settings, layout: makeLayout({ tp: 2 }) };
    expect(parse(settings)).toEqual(want);
    expect(parseRunConfig(parseJson(JSON.stringify(settings), { format: 'test' }) as JsonObject)).toEqual(want);
  });

  it('warmup, decay and minLr shape the one rate', () => {
    expect(parse({ lr: '0.01', warmup: '5', decay: 'cosine', 'min-lr': '0.001' }).lr).toEqual({
      peak: 0.01,
      warmupSteps: 5,
      decay: 'cosine',
      floor: 0.001,
    });
    expect(parse({ warmup: 5 }).lr).toEqual({ peak: 1e-3, warmupSteps: 5, decay: 'none', floor: 0 });
    expect(() => parse({ lr: [1, 2], steps: 2, warmup: 1 })).toThrow('lr: warmup, decay and minLr shape one rate');
  });

  it('takes what is absent from a base, null included', () => {
    const base = parse({ gradClip: null, context: 8, seed: 5 });
    expect(parse({ seed: 6 }, base)).toEqual({ ...base, seed: 6 });
    expect(parse({ context: 'none' }, base).context).toBe(null);
    expect(
      [parse({ tune: '0' }), parse({ tune: 'none' }), parse({}, parse({ tune: null }))].map(({ tune }) => tune),
    ).toEqual([0, null, null]);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ modle: 'x' }, 'modle: unknown setting; the settings are model, data,'],
    [{ toString: 'x' }, 'toString: unknown setting'],
    [{ weightDecay: 0, 'weight-decay': 0 }, 'weight-decay: the setting stands twice; give it once'],
    [{ model: '' }, 'model: expected a text of 1 to 1000 characters, got ""'],
    [{ model: 3 }, 'model: expected a text of 1 to 1000 characters, got 3'],
    [{ steps: 0 }, 'steps: expected a whole number from 1 to 10000000, got 0'],
    [{ steps: 1.5 }, 'steps: expected a whole number from 1 to 10000000, got 1.5'],
    [{ steps: '' }, 'steps: expected a whole number from 1 to 10000000, got ""'],
    [{ steps: '0x10' }, 'got "0x10"'],
    [{ steps: true }, 'got true'],
    [{ steps: null }, 'got null'],
    [{ steps: [1] }, 'got a list'],
    [{ seed: -1 }, 'seed: expected a whole number from 0'],
    [{ seed: 2 ** 53 }, 'seed: expected a whole number from 0'],
    [{ lr: -1 }, 'lr: expected a number of at least 0, got -1'],
    [{ lr: 'NaN' }, 'lr: expected a number of at least 0, got "NaN"'],
    [{ lr: '1e999' }, 'lr: expected a number of at least 0, got "1e999"'],
    [{ lr: [0.1, 'x'] }, 'lr[1]: expected a number'],
    [{ lr: [0.1], steps: 2 }, 'lr: the list has 1 values, but the run has 2 steps'],
    [{ lr: { peak: 1 } }, 'lr: expected peak, warmupSteps, decay and floor'],
    [
      { lr: { peak: 1, warmupSteps: 0, decay: 'step', floor: 0 } },
      'lr.decay: expected cosine, linear or none, got "step"',
    ],
    [{ decay: 'exp' }, 'decay: expected cosine, linear or none, got "exp"'],
    [{ warmup: 500 }, 'warmup: expected 0 to 200 steps, got 500'],
    [{ betas: [0.9] }, 'betas: expected two numbers from 0 to below 1, got a list'],
    [{ betas: '0.9,1' }, 'betas: expected two numbers from 0 to below 1, got "0.9,1"'],
    [{ eps: 0 }, 'eps: expected a number above 0, got 0'],
    [{ eps: 1e-50 }, 'eps: expected a number that f32 holds (1.18e-38 to 3.40e+38), got 1e-50'],
    [{ lr: '1e39' }, 'lr: expected a number that f32 holds (1.18e-38 to 3.40e+38), got "1e39"'],
    [{ lr: '1e-3,nan' }, 'lr[1]: expected a number of at least 0, got "nan"'],
    [{ weightDecay: 1e40 }, 'weightDecay: expected a number that f32 holds'],
    [{ gradClip: 0 }, 'gradClip: expected a number above 0, got 0'],
    [{ layout: 3 }, 'layout: expected for example dp=2,pp=2, got 3'],
    [{ layout: { cp: 2 } }, 'layout: expected sizes of the axes pp, dp, sp, ep, tp, got "cp"'],
  ])('refuses %j', (settings, message) => {
    expect(() => parse(settings)).toThrow(ConfigError);
    expect(() => parse(settings)).toThrow(message);
  });

  it('a layout in words of its own', () => {
    expect(() => parse({ layout: 'dp=0' })).toThrow('layout: dp=0 is not a size');
  });
});

describe('formatRunConfig', () => {
  it('is what differs from the defaults, and survives JSON', () => {
    expect(formatRunConfig(defaults)).toEqual({});
    const config = parse({
      model: 'gpt2-mini',
      layout: 'tp=2,dp=2',
      lr: 0.01,
      warmup: 5,
      decay: 'linear',
      gradClip: 'none',
      context: 16,
      betas: [0.8, 0.9],
    });
    const json = JSON.stringify(formatRunConfig(config));
    expect(json).toBe(
      '{"model":"gpt2-mini","layout":"dp=2,tp=2","context":16,"lr":{"peak":0.01,"warmupSteps":5,"decay":"linear","floor":0},"betas":[0.8,0.9],"gradClip":null}',
    );
    expect(parse(JSON.parse(json) as Record<string, unknown>)).toEqual(config);
  });
});

describe('readRunJson', () => {
  const source = (name: string): string =>
    readFileSync(new URL(`../golden/models/${name}/run.json`, import.meta.url), 'utf8');

  it('reads the optimiser, sizes and clipping of a conformance run', () => {
    expect(readRunJson(source('gpt2-tiny'))).toEqual({
      ...defaults,
      tune: null,
      data: 'tokens',
      steps: 10,
      batch: 4,
      context: 16,
      lr: 0.005,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0.01,
      gradClip: null,
      evalEvery: 0,
      sampleEvery: 0,
    });
    expect(readRunJson(source('lasp2h-tiny'))).toMatchObject({ gradClip: 1, eps: 1e-7, weightDecay: 0.1 });
  });

  it('adds what the file does not say', () => {
    expect(
      readRunJson(source('gpt2-tiny'), [
        ['layout', 'dp=2'],
        ['microbatches', '2'],
        ['model', 'folder'],
      ]),
    ).toMatchObject({ model: 'folder', microbatches: 2, layout: { dp: 2 }, batch: 4 });
  });

  it('reads a rate per step', () => {
    const run = JSON.parse(source('gpt2-tiny')) as Record<string, unknown>;
    const lr = Array.from({ length: 10 }, (_, i) => i / 1000);
    expect(readRunJson(JSON.stringify({ ...run, lr })).lr).toEqual(lr);
    expect(() => readRunJson(JSON.stringify({ ...run, lr: lr.slice(1) }))).toThrow(
      'lr: the list has 9 values, but the run has 10 steps',
    );
  });

  it('refuses other files', () => {
    expect(() => readRunJson('{}')).toThrow('format: run.json: expected format torch-run/1');
    expect(() => readRunJson('{"format":"torch-run/1"}')).toThrow('steps: run.json: the field is missing');
    expect(() => readRunJson('{')).toThrow(FormatError);
  });
});

describe('a schedule brings its number of chunks', () => {
  const chunks = (...given: readonly (readonly [string, string])[]): number => parseRunConfig(given).chunks;
  it('unless one is said with it', () => {
    expect(chunks(['schedule', 'v-half'])).toBe(2);
    expect(chunks(['schedule', 'interleaved'])).toBe(2);
    expect(chunks(['schedule', 'interleaved'], ['chunks', '4'])).toBe(4);
    expect(chunks(['schedule', 'zb-h1'])).toBe(1);
    expect(chunks(['schedule', 'no-such'])).toBe(1);
  });
  it('and takes it back with another schedule', () => {
    const vee = parseRunConfig([['schedule', 'v-half']]);
    expect(parseRunConfig([['steps', '3']], vee).chunks).toBe(2);
    expect(parseRunConfig([['schedule', '1f1b']], vee).chunks).toBe(1);
    expect(parseRunConfig(Object.entries(formatRunConfig(vee)))).toEqual(vee);
  });
});
