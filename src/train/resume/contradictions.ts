// A run that goes on is the same run: same model, data, tokenizer and seed. What may change from here on (steps,
// layout, learning rate) is only told.

import { formatLayout } from '../../base/axis.ts';
import { ConfigError } from '../../base/errors.ts';
import { dataDifference } from '../data/data-identity.ts';
import type { RunConfig } from '../run-config.ts';
import type { CheckpointAbout } from './open-checkpoint.ts';

export interface ResumedRun {
  readonly config: RunConfig;
  readonly network: Readonly<Record<string, unknown>>;
  readonly dataIdentity: string;
}

/** ConfigError for the first thing that contradicts the checkpoint. Returns what cannot be checked, a sentence each. */
export function checkResumed(about: CheckpointAbout, { config, network, dataIdentity }: ResumedRun): readonly string[] {
  if (config.seed !== about.config.seed)
    throw new ConfigError(
      'seed',
      `is ${config.seed}, but the checkpoint's run has ${about.config.seed}; leave it out: data and samples go on with the same`,
    );
  const data = about.data === undefined ? undefined : dataDifference(about.data, dataIdentity);
  if (data !== undefined)
    throw new ConfigError(
      'data',
      `the checkpoint belongs to other data: ${data}; give what it was trained on${nameOf(about)}, or train anew from its weights`,
    );
  const differing = networkDifferences(about.network, network);
  if (differing.length)
    throw new ConfigError(
      'model',
      `the checkpoint belongs to another model: ${differing.join(', ')}; leave the model out, or give its own`,
    );
  if (config.steps < about.step)
    throw new ConfigError(
      'steps',
      `is ${config.steps}, but the checkpoint is of step ${about.step} already; give more steps in all`,
    );
  return about.data === undefined
    ? [
        'the checkpoint is from a version that did not keep what it was trained on; make sure that the data are the same',
      ]
    : [];
}

function nameOf({ config }: CheckpointAbout): string {
  return config.data === 'tokens' ? '' : ` ("${config.data}")`;
}

/** 'ropeTheta is 500000 and was 10000', for every field that decides what the network computes. */
function networkDifferences(
  before: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
): readonly string[] {
  const names = new Set(
    [...Object.keys(before), ...Object.keys(now)].filter((name) => !['raw', 'warnings', 'initStd'].includes(name)),
  );
  return [...names]
    .filter((name) => JSON.stringify(before[name]) !== JSON.stringify(now[name]))
    .map((name) => `${name} is ${JSON.stringify(now[name])} and was ${JSON.stringify(before[name])}`);
}

/** Settings of the run itself; the others say how it is executed, shown or kept, and may change freely. */
const TOLD: readonly (keyof RunConfig)[] = [
  'layout',
  'schedule',
  'chunks',
  'vocab',
  'sequence',
  'microbatches',
  'steps',
  'batch',
  'context',
  'lr',
  'betas',
  'eps',
  'weightDecay',
  'gradClip',
  'precision',
];
/** With these as they were, the run goes on bit-equal. */
const ROUNDING: readonly (keyof RunConfig)[] = [
  'layout',
  'schedule',
  'chunks',
  'vocab',
  'sequence',
  'microbatches',
  'precision',
];

/** What differs from the checkpoint's settings and is allowed to, a sentence each. */
export function changedSettings({ config: was }: CheckpointAbout, is: RunConfig): readonly string[] {
  const text = (config: RunConfig, key: keyof RunConfig): string =>
    key === 'layout' ? formatLayout(config.layout) : JSON.stringify(config[key]);
  return TOLD.filter((key) => text(was, key) !== text(is, key)).map((key) => {
    const meaning =
      key === 'steps'
        ? typeof is.lr === 'object' && 'decay' in is.lr && is.lr.decay !== 'none'
          ? ': the learning rate decays towards the new end'
          : ''
        : ROUNDING.includes(key)
          ? ': the run goes on equal within rounding'
          : ': from here on another run than it was';
    return `resuming with ${key} ${text(is, key)}; the checkpoint has ${text(was, key)}${meaning}`;
  });
}
