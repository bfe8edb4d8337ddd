// What the page offers with one click: one example for each way to split a training run. A preset sets the form; the
// form makes the job.

import { parseRunConfig } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';

export interface Preset {
  readonly name: string;
  readonly about: string;
  readonly settings: Readonly<Record<string, string | number>>;
}

const SHOW = { steps: 300, lr: 0.002, evalEvery: 25, sampleEvery: 50, checkpointEvery: 100 };

export const PRESETS: readonly Preset[] = [
  {
    name: 'Data × pipeline',
    about: '4 devices: two replicas of a pipeline of two stages',
    settings: { ...SHOW, layout: 'dp=2,pp=2', microbatches: 2 },
  },
  {
    name: 'Pipeline',
    about: '2 devices: half of the layers each',
    settings: { ...SHOW, layout: 'pp=2', microbatches: 4 },
  },
  { name: 'Data', about: '2 devices: half of the rows each, gradients summed', settings: { ...SHOW, layout: 'dp=2' } },
  { name: 'Tensor', about: '2 devices: half of the heads and of the MLP each', settings: { ...SHOW, layout: 'tp=2' } },
  {
    name: 'Sequence ring',
    about: '4 devices: a quarter of the tokens each, keys and values go round',
    settings: { ...SHOW, model: 'llama-nano', layout: 'sp=4' },
  },
  {
    name: 'Experts',
    about: '4 devices: one expert each, tokens travel to their experts',
    settings: { ...SHOW, model: 'mixtral-nano', layout: 'ep=4' },
  },
  { name: 'One device', about: 'the plain run that all others must equal', settings: { ...SHOW, layout: 'dp=1' } },
];

export function presetConfig(preset: Preset): RunConfig {
  return parseRunConfig(Object.entries(preset.settings));
}
