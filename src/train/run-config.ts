// Everything that defines a run, so that two ranks with equal RunConfig and weights train alike. One table of fields
// serves the command line, the page's link, the message to a joiner and run.json: values may be JSON or the same thing
// as text. Strict: an unknown or repeated name, a value of another type or out of range is a ConfigError that names the
// field.

import { AXES, formatLayout, type AxisName, type Layout } from '../base/axis.ts';
import { ConfigError } from '../base/errors.ts';
import { isObject, parseJson, quote } from '../base/json.ts';
import { schedules } from '../parallel/pipeline/registry.ts';
import { VOCABULARY_FORMS } from '../parallel/pipeline/schedule.ts';
import type { VocabularyForm } from '../parallel/pipeline/schedule.ts';
import { checkLearningRate, type LearningRate, type WarmupDecay } from './learning-rate.ts';
import { makeLayout, parseLayout } from './layout.ts';

export interface RunConfig {
  /** A preset's name or a model folder. */
  readonly model: string;
  /**
   * 'moby-dick', the name of a synthetic task or of another task's data, 'tokens' (tokens.safetensors of the model
   * folder) or a text file.
   */
  readonly data: string;
  /**
   * 'auto' (a folder's own tokenizer; characters for a preset), 'bytes', 'chars' or 'bpe:N'; tasks and 'tokens' need
   * none.
   */
  readonly tokenizer: string;
  readonly layout: Layout;
  /** A pipeline schedule's name. */
  readonly schedule: string;
  /** Model chunks per pipeline rank. */
  readonly chunks: number;
  /** How the ranks of a pipeline share the vocabulary; 'none': the ends have it. */
  readonly vocab: VocabularyForm;
  /** A sequence strategy's name. */
  readonly sequence: string;
  /** Parts that each data-parallel rank cuts its rows into. */
  readonly microbatches: number;
  readonly steps: number;
  readonly seed: number;
  /** Rows of a step over all ranks. */
  readonly batch: number;
  /** Tokens per row; null: as many as the model has positions. */
  readonly context: number | null;
  readonly lr: LearningRate;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  /** Largest global gradient norm; null: no clipping. */
  readonly gradClip: number | null;
  /** Steps between evaluations, samples and checkpoints; 0: never. */
  readonly evalEvery: number;
  readonly sampleEvery: number;
  readonly checkpointEvery: number;
  /** Seconds in which a device measures variants before it trains; 0: self-check only; null: neither. */
  readonly tune: number | null;
  /** Seconds that one exchange between ranks may take; null: any. A rank that is paused or compiling is excused. */
  readonly deadline: number | null;
  /** 'f16' lets kernels round their factors to half precision; sums stay f32. */
  readonly precision: 'f32' | 'f16';
}

interface Field<T> {
  readonly about: string;
  /** What kind of value, in a word: text, n (a whole number), number. */
  readonly value: string;
  readonly preset: T;
  /** `value` as JSON or as text. */
  read(value: unknown, where: string): T;
}

const text = (about: string, preset: string, value = 'text'): Field<string> => ({
  about,
  preset,
  value,
  read(value, where) {
    if (typeof value !== 'string' || value === '' || value.length > 1000)
      throw new ConfigError(where, `expected a text of 1 to 1000 characters, got ${show(value)}`);
    return value;
  },
});

const count = (about: string, preset: number, least: number, most: number): Field<number> => ({
  about,
  preset,
  value: 'n',
  read(value, where) {
    const n = toNumber(value);
    if (!(Number.isSafeInteger(n) && n >= least && n <= most))
      throw new ConfigError(where, `expected a whole number from ${least} to ${most}, got ${show(value)}`);
    return n;
  },
});

const real = (about: string, preset: number, what: string, fits: (n: number) => boolean): Field<number> => ({
  about,
  preset,
  value: 'number',
  read(value, where) {
    const n = toNumber(value);
    if (!(Number.isFinite(n) && fits(n))) throw new ConfigError(where, `expected ${what}, got ${show(value)}`);
    return n;
  },
});

const orNull = <T>(field: Field<T>, preset: T | null): Field<T | null> => ({
  about: field.about,
  preset,
  value: `${field.value}|none`,
  read: (value, where) => (value === null || value === 'none' ? null : field.read(value, where)),
});

/** Kernels take these numbers as f32, in which they must be neither 0 nor infinite unless they are meant to be. */
const F32_LEAST = 2 ** -126;
const F32_MOST = (2 - 2 ** -23) * 2 ** 127;
const inF32 = (field: Field<number>): Field<number> => ({
  ...field,
  read(value, where) {
    const n = field.read(value, where);
    if (n !== 0 && (n < F32_LEAST || n > F32_MOST))
      throw new ConfigError(
        where,
        `expected a number that f32 holds (${F32_LEAST.toPrecision(3)} to ${F32_MOST.toPrecision(3)}), got ${show(value)}`,
      );
    return n;
  },
});
const positive = (about: string, preset: number): Field<number> =>
  inF32(real(about, preset, 'a number above 0', (n) => n > 0));
const atLeast0 = (about: string, preset: number): Field<number> =>
  inF32(real(about, preset, 'a number of at least 0', (n) => n >= 0));

/** The fields by name, with their defaults; the command line builds its help from it. */
export const RUN_FIELDS: { readonly [K in keyof RunConfig]: Field<RunConfig[K]> } = {
  model: text('preset or model folder', 'gpt2-nano', 'preset|FOLDER'),
  data: text('what to learn: a name, tokens (of the model folder) or a text file', 'moby-dick', 'name|FILE'),
  tokenizer: text(
    "auto (the model folder's own, characters for a preset), bytes (of any file), chars or bpe:N (N tokens)",
    'auto',
  ),
  layout: { about: 'mesh, for example dp=2,pp=2', value: 'mesh', preset: makeLayout({}), read: readLayout },
  schedule: text('pipeline schedule', '1f1b', 'name'),
  chunks: count('model chunks per pipeline rank; unless told, as many as the schedule is made for', 1, 1, 64),
  vocab: {
    about: 'vocabulary shared by all ranks of a pipeline: none, naive, alg1, alg2 or interlaced',
    value: 'form',
    preset: 'none',
    read: readVocabulary,
  },
  sequence: text('sequence-parallel strategy', 'ring', 'name'),
  microbatches: count('microbatches per data-parallel rank and step', 1, 1, 1024),
  steps: count('steps to train', 200, 1, 10_000_000),
  seed: count('seed of weights, data and samples', 1, 0, Number.MAX_SAFE_INTEGER),
  batch: count('rows per step over all ranks', 8, 1, 65_536),
  context: orNull(count('tokens per row; none: all positions of the model', 1, 1, 1 << 20), null),
  lr: {
    about: 'learning rate, or one per step, with commas',
    value: 'number|list',
    preset: 1e-3,
    read: readLearningRate,
  },
  betas: { about: "AdamW's two decays", value: 'number,number', preset: [0.9, 0.95], read: readBetas },
  eps: positive("AdamW's epsilon", 1e-8),
  weightDecay: atLeast0('decay of tensors with 2 or more dimensions', 0.1),
  gradClip: orNull(positive('largest global gradient norm, or none', 1), 1),
  evalEvery: count('steps between evaluations; 0: never', 50, 0, 10_000_000),
  sampleEvery: count('steps between samples; 0: never', 50, 0, 10_000_000),
  checkpointEvery: count('steps between checkpoints; 0: never', 0, 0, 10_000_000),
  tune: orNull(
    atLeast0(
      'seconds to measure kernel variants, before training or, on software adapters in browsers, between steps; 0: only check them, none: not even that',
      2,
    ),
    2,
  ),
  deadline: orNull(
    real(
      'seconds that one exchange between ranks may take before the rank that holds it up ends the run; none: any; pauses and compiling do not count',
      300,
      'at least 12, or none',
      (n) => n >= 12,
    ),
    300,
  ),
  precision: {
    about:
      'f32, or f16: products may round their factors to half precision where the adapter can and the result passes the check',
    value: 'f32|f16',
    preset: 'f32',
    read: readPrecision,
  },
};

/** Names that shape `lr` and are no fields of their own: lr becomes the peak of a warm-up and decay. */
export const RATE_FIELDS = {
  warmup: count('steps of linear warm-up', 0, 0, 10_000_000),
  decay: {
    about: 'cosine, linear or none, after the warm-up',
    value: 'cosine|linear|none',
    preset: 'none',
    read: readDecay,
  } as Field<WarmupDecay['decay']>,
  minLr: atLeast0('learning rate at the last step of a decay', 0),
} as const;

/**
 * A RunConfig from names and values: Object.entries(...), a Map from parseJson, or URLSearchParams. Names may be
 * written weightDecay, weight-decay or weight_decay. What is absent has its default, or its value in `base`.
 */
export function parseRunConfig(input: Iterable<readonly [string, unknown]>, base?: RunConfig): RunConfig {
  const given = new Map<string, unknown>();
  for (const [name, value] of input) {
    const key = name.replace(/[-_]([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (!Object.hasOwn(RUN_FIELDS, key) && !Object.hasOwn(RATE_FIELDS, key))
      throw new ConfigError(
        name,
        `unknown setting; the settings are ${[...Object.keys(RUN_FIELDS), ...Object.keys(RATE_FIELDS)].join(', ')}`,
      );
    if (given.has(key)) throw new ConfigError(name, 'the setting stands twice; give it once');
    given.set(key, value);
  }
  const get = <K extends keyof RunConfig>(key: K): RunConfig[K] => {
    const value = given.get(key);
    return value === undefined ? (base?.[key] ?? RUN_FIELDS[key].preset) : RUN_FIELDS[key].read(value, key);
  };
  const config: RunConfig = {
    model: get('model'),
    data: get('data'),
    tokenizer: get('tokenizer'),
    layout: get('layout'),
    schedule: get('schedule'),
    chunks: chunksOf(get('schedule')),
    vocab: get('vocab'),
    sequence: get('sequence'),
    microbatches: get('microbatches'),
    steps: get('steps'),
    seed: get('seed'),
    batch: get('batch'),
    context: getOrNull('context'),
    lr: shapeRate(get('lr'), given),
    betas: get('betas'),
    eps: get('eps'),
    weightDecay: get('weightDecay'),
    gradClip: getOrNull('gradClip'),
    evalEvery: get('evalEvery'),
    sampleEvery: get('sampleEvery'),
    checkpointEvery: get('checkpointEvery'),
    tune: getOrNull('tune'),
    deadline: getOrNull('deadline'),
    precision: get('precision'),
  };
  checkLearningRate(config.lr, config.steps);
  return config;

  // A schedule that is chosen brings the number of chunks that it is made for, unless one is said with it.
  function chunksOf(schedule: string): number {
    const brought = given.has('schedule') && !given.has('chunks') ? schedules.get(schedule) : undefined;
    return brought ? (brought.defaultChunks ?? 1) : get('chunks');
  }

  // Null is a value of these, so `??` would lose it.
  function getOrNull(key: 'context' | 'gradClip' | 'tune' | 'deadline'): number | null {
    const value = given.get(key);
    if (value !== undefined) return RUN_FIELDS[key].read(value, key);
    return base ? base[key] : RUN_FIELDS[key].preset;
  }
}

/** What differs from the defaults, as JSON that parseRunConfig reads back; for links, messages and checkpoints. */
export function formatRunConfig(config: RunConfig): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(RUN_FIELDS) as (keyof RunConfig)[]) {
    const value = key === 'layout' ? formatLayout(config.layout) : config[key];
    const preset = key === 'layout' ? formatLayout(RUN_FIELDS.layout.preset) : RUN_FIELDS[key].preset;
    if (JSON.stringify(value) !== JSON.stringify(preset)) out[key] = value;
  }
  return out;
}

/**
 * The settings in a run.json of the conformance data; `more` adds what the file does not say (layout, schedule,
 * microbatches).
 */
export function readRunJson(source: string, more: Iterable<readonly [string, unknown]> = []): RunConfig {
  const json = parseJson(source, { format: 'run.json', maxDepth: 6 });
  if (!isObject(json) || json.get('format') !== 'torch-run/1')
    throw new ConfigError('format', 'run.json: expected format torch-run/1');
  const settings: [string, unknown][] = [
    ['data', 'tokens'],
    ['evalEvery', 0],
    ['sampleEvery', 0],
    ['tune', null],
  ];
  for (const [name, key] of [
    ['steps', 'steps'],
    ['batch', 'batch'],
    ['T', 'context'],
    ['lr', 'lr'],
    ['betas', 'betas'],
    ['eps', 'eps'],
    ['weight_decay', 'weightDecay'],
    ['grad_clip', 'gradClip'],
  ] as const) {
    const value = json.get(name);
    if (value === undefined) throw new ConfigError(name, 'run.json: the field is missing');
    settings.push([key, value]);
  }
  return parseRunConfig(more, parseRunConfig(settings));
}

function toNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(value) ? Number(value) : NaN;
}

function show(value: unknown): string {
  if (typeof value === 'string') return quote(value);
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  return Array.isArray(value) ? 'a list' : 'an object';
}

/** The fields of a JSON object, as a Map from parseJson or as a plain object. */
function entriesOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  if (value instanceof Map) return value as ReadonlyMap<string, unknown>;
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? new Map(Object.entries(value))
    : undefined;
}

function readLayout(value: unknown, where: string): Layout {
  if (typeof value === 'string') return parseLayout(value);
  const entries = entriesOf(value);
  if (!entries) throw new ConfigError(where, `expected for example dp=2,pp=2, got ${show(value)}`);
  const sizes: Partial<Record<AxisName, number>> = {};
  for (const [name, size] of entries) {
    const axis = AXES.find((a) => a === name);
    if (axis === undefined || typeof size !== 'number')
      throw new ConfigError(where, `expected sizes of the axes ${AXES.join(', ')}, got ${quote(name)}`);
    sizes[axis] = size;
  }
  return makeLayout(sizes);
}

function readVocabulary(value: unknown, where: string): VocabularyForm {
  const form = VOCABULARY_FORMS.find((name) => name === value);
  if (form === undefined) throw new ConfigError(where, `expected ${VOCABULARY_FORMS.join(', ')}, got ${show(value)}`);
  return form;
}

function readLearningRate(value: unknown, where: string): LearningRate {
  const rate = atLeast0('', 0);
  const list: unknown =
    typeof value === 'string' && value.includes(',') ? value.split(',').map((part) => part.trim()) : value;
  if (Array.isArray(list)) return list.map((item: unknown, i) => rate.read(item, `${where}[${i}]`));
  const entries = entriesOf(value);
  if (!entries) return rate.read(value, where);
  if (entries.size !== 4) throw new ConfigError(where, 'expected peak, warmupSteps, decay and floor');
  return {
    peak: rate.read(entries.get('peak'), `${where}.peak`),
    warmupSteps: RATE_FIELDS.warmup.read(entries.get('warmupSteps'), `${where}.warmupSteps`),
    decay: readDecay(entries.get('decay'), `${where}.decay`),
    floor: rate.read(entries.get('floor'), `${where}.floor`),
  };
}

function readDecay(value: unknown, where: string): WarmupDecay['decay'] {
  if (value !== 'cosine' && value !== 'linear' && value !== 'none')
    throw new ConfigError(where, `expected cosine, linear or none, got ${show(value)}`);
  return value;
}

function readPrecision(value: unknown, where: string): RunConfig['precision'] {
  if (value !== 'f32' && value !== 'f16') throw new ConfigError(where, `expected f32 or f16, got ${show(value)}`);
  return value;
}

function readBetas(value: unknown, where: string): readonly [number, number] {
  const list: unknown[] = Array.isArray(value)
    ? value
    : typeof value === 'string'
      ? value.split(',').map((s) => s.trim())
      : [];
  const [a = NaN, b = NaN] = list.map(toNumber);
  if (list.length !== 2 || !(a >= 0 && a < 1 && b >= 0 && b < 1))
    throw new ConfigError(where, `expected two numbers from 0 to below 1, got ${show(value)}`);
  return [a, b];
}

function shapeRate(lr: LearningRate, given: ReadonlyMap<string, unknown>): LearningRate {
  if (!Object.keys(RATE_FIELDS).some((key) => given.has(key))) return lr;
  if (typeof lr !== 'number')
    throw new ConfigError(
      'lr',
      'warmup, decay and minLr shape one rate, but lr is a list or has its own shape; give one number',
    );
  const { warmup, decay, minLr } = RATE_FIELDS;
  const read = <T>(field: Field<T>, key: string): T =>
    given.has(key) ? field.read(given.get(key), key) : field.preset;
  return { peak: lr, warmupSteps: read(warmup, 'warmup'), decay: read(decay, 'decay'), floor: read(minLr, 'minLr') };
}
