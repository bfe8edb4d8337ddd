// How a run goes on from a checkpoint: to as many steps in all as the form says, split as the form says; everything
// else is the checkpoint's.

import { ConfigError } from '../../../base/errors.ts';
import type { CheckpointAbout } from '../../../train/resume/open-checkpoint.ts';
import { formatRunConfig, parseRunConfig } from '../../../train/run-config.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { fittingMicrobatches } from './fit.ts';

/** Throws ConfigError for steps that the checkpoint has already. */
export function goOnConfig(from: Pick<CheckpointAbout, 'step' | 'config'>, form: RunConfig): RunConfig {
  const { layout, schedule, chunks, vocab, sequence, microbatches, steps, evalEvery, sampleEvery, checkpointEvery } =
    form;
  if (steps <= from.step)
    throw new ConfigError(
      'steps',
      `the checkpoint has ${from.step} steps already, and the form says ${steps} in all; say more than ${from.step} to go on`,
    );
  const config: RunConfig = {
    ...from.config,
    layout,
    schedule,
    chunks,
    vocab,
    sequence,
    microbatches: fittingMicrobatches(microbatches, from.config.batch / (layout.dp * layout.ep)),
    evalEvery,
    sampleEvery,
    checkpointEvery,
    steps,
  };
  return parseRunConfig(Object.entries(formatRunConfig(config)));
}
