// The settings of a run from the options of `tabmesh train`, a run.json and the checkpoint that it goes on from, in
// this order: what is given counts, the checkpoint says the rest, then the defaults. Options that would be ignored are
// refused or told.

import { AXES, formatLayout, worldSize } from '../../base/axis.ts';
import { ConfigError } from '../../base/errors.ts';
import type { JsonValue } from '../../base/json.ts';
import { inBrowser, onGpu } from '../execution.ts';
import type { ExecutionBackend } from '../execution.ts';
import { schedules } from '../../parallel/pipeline/registry.ts';
import { VOCABULARY_FORMS } from '../../parallel/pipeline/schedule.ts';
import { sequenceStrategies } from '../../parallel/sequence/registry.ts';
import type { CheckpointAbout } from '../../train/resume/open-checkpoint.ts';
import { parseRunConfig, RATE_FIELDS, readRunJson, RUN_FIELDS } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { DATA_NAMES, MODEL_NAMES, taskOf } from '../../train/tasks/registry.ts';
import type { OptionSpec } from '../options.ts';
import { defaultMicrobatches } from '../verify/run-folder.ts';
import { chooseLayout } from './choose-layout.ts';
import { shapeOfTokens } from './run-files.ts';

/** Options by name as they were given; undefined where not. */
export type Given = Readonly<Record<string, string | number | boolean | undefined>>;

const dashed = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
const shown = (preset: unknown): string =>
  preset === null
    ? 'none'
    : typeof preset === 'object'
      ? Array.isArray(preset)
        ? preset.join(',')
        : 'dp=1'
      : String(preset);

/** The names that a setting may have where others add to them: a schedule is a file of its folder. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  model: MODEL_NAMES,
  data: DATA_NAMES.map(({ value }) => value),
  schedule: [...schedules.keys()],
  vocab: VOCABULARY_FORMS,
  sequence: [...sequenceStrategies.keys()],
  layout: AXES.map((axis) => `${axis}=N`),
};

/** Every run setting is an option of its own name; values stay text and are parsed with the field's own rules. */
export const SETTINGS: Readonly<Record<string, OptionSpec>> = Object.fromEntries(
  Object.entries({ ...RUN_FIELDS, ...RATE_FIELDS }).map(([name, { about, preset, value }]) => {
    const names = NAMES[name] ? `: ${NAMES[name].join(', ')}` : '';
    return [dashed(name), { type: 'string', value, about: `${about}${names} (default ${shown(preset)})` } as const];
  }),
);

export interface Chosen {
  readonly config: RunConfig;
  /** What was chosen without being asked, or means nothing; a sentence each. */ readonly notes: readonly string[];
}

/** `runJson` is the text of --run. ConfigError or LayoutError names the option. */
export function chooseSettings(
  given: Given,
  runJson: string | undefined,
  about: CheckpointAbout | undefined,
  backend: ExecutionBackend,
): Chosen {
  checkTogether(given);
  const settings: [string, JsonValue][] = Object.keys(SETTINGS)
    .filter((name) => given[name] !== undefined)
    .map((name) => [name, given[name] as string]);
  if (given.tokens !== undefined && given.data === undefined) settings.push(['data', 'tokens']);
  // The file has its own number of steps and rows; a run.json or a checkpoint says them too.
  if (given.tokens !== undefined && runJson === undefined && !about)
    settings.push(...shapeOfTokens(String(given.tokens)).filter(([name]) => given[name] === undefined));
  const parsed =
    runJson === undefined
      ? parseRunConfig([...settings, ...shapeOfRate(given, about)], about?.config)
      : readRunJson(runJson, settings);
  if (about) checkTokenizer(given, about);
  const notes: string[] = [];
  const ranks = (given.tabs ?? given.devices) as number | undefined;
  let config = parsed;
  if (given.layout === undefined && ranks !== undefined && ranks !== worldSize(config.layout)) {
    config = { ...config, layout: chooseLayout(config, ranks, about?.model) };
    notes.push(`layout ${formatLayout(config.layout)} for ${ranks} ranks; --layout says another`);
  }
  const asBefore =
    about !== undefined &&
    formatLayout(config.layout) === formatLayout(about.config.layout) &&
    config.batch === about.config.batch;
  if (given.microbatches === undefined && !asBefore) config = { ...config, microbatches: defaultMicrobatches(config) };
  config = { ...config, checkpointEvery: checkpointEvery(given, config) };
  return { config, notes: [...notes, ...checkUsed(given, config, backend)] };
}

/** A checkpoint of the last step is what asking for a file means. */
function checkpointEvery(given: Given, config: RunConfig): number {
  if (given.checkpoint === undefined) return 0;
  return given['checkpoint-every'] === undefined && config.checkpointEvery === 0
    ? config.steps
    : config.checkpointEvery;
}

/** A resumed rate keeps its shape unless it is given: `--lr 0.001` alone is its new peak. */
function shapeOfRate(given: Given, about: CheckpointAbout | undefined): [string, JsonValue][] {
  const was = about?.config.lr;
  if (typeof was !== 'object' || !('peak' in was) || String(given.lr ?? '').includes(',')) return [];
  const kept: Readonly<Record<string, JsonValue>> = {
    lr: was.peak,
    warmup: was.warmupSteps,
    decay: was.decay,
    'min-lr': was.floor,
  };
  // Something of it is given: then the rest has to be said as well. Nothing: it stays as it is.
  if (Object.keys(kept).every((name) => given[name] === undefined)) return [];
  return Object.entries(kept).filter(([name]) => given[name] === undefined);
}

function checkTokenizer(given: Given, { tokenizer, config }: CheckpointAbout): void {
  if (
    given.tokenizer === undefined ||
    tokenizer === undefined ||
    given.tokenizer === config.tokenizer ||
    given.tokenizer === 'auto'
  )
    return;
  throw new ConfigError(
    '--tokenizer',
    `is ${String(given.tokenizer)}, but the checkpoint goes on with its own tokenizer (${config.tokenizer}); leave it out`,
  );
}

/** ConfigError for options that mean nothing without, or beside, another one. */
function checkTogether(given: Given): void {
  if (given['checkpoint-every'] !== undefined && given['checkpoint-every'] !== '0' && given.checkpoint === undefined)
    throw new ConfigError('--checkpoint-every', 'says how often, but not where; add --checkpoint FILE');
  if (given.grads !== undefined && given.resume !== undefined)
    throw new ConfigError(
      '--grads',
      'writes the gradients of the first step, which a resumed run has behind it; leave --grads or --resume out',
    );
  if (given.tokens !== undefined && given.data !== undefined && given.data !== 'tokens')
    throw new ConfigError('--tokens', `is the data, but --data ${String(given.data)} is given too; choose one`);
  if (given.lane === 'same-browser' && given.tabs === undefined)
    throw new ConfigError('--lane', 'joins tabs; without --tabs there are none');
}

/** ConfigError for a wish that the run cannot fulfil. Returns settings that mean nothing here. */
function checkUsed(given: Given, config: RunConfig, backend: ExecutionBackend): readonly string[] {
  const wants = (name: string): boolean => given[name] !== undefined && given[name] !== '0' && given[name] !== 'none';
  for (const [name, why] of Object.entries(taskOf(config).unused(config))) {
    const [option, often] = [dashed(name), name.endsWith('Every')];
    const asDefault = !often && given[option] === shown(RUN_FIELDS[name as keyof RunConfig].preset);
    if (wants(option) && !asDefault)
      throw new ConfigError(`--${option}`, `${why}; ${often ? `use --${option} 0` : 'leave it out'}`);
  }
  if (given.precision === 'f16' && !onGpu(backend))
    throw new ConfigError(
      '--precision',
      `f16 is for kernels on a GPU, and --backend ${backend} computes without one; leave it out`,
    );
  if (given.precision === 'f16' && config.tune === null)
    throw new ConfigError(
      '--precision',
      'f16 is used only where a check has passed, and --tune none checks nothing; use --tune 0 or more',
    );
  return [
    ...(wants('tune') && !onGpu(backend) ? [`--tune means nothing without a GPU (--backend ${backend})`] : []),
    ...(wants('deadline') && !inBrowser(backend)
      ? ['--deadline means nothing here: the ranks of one process wait for each other']
      : []),
  ];
}
