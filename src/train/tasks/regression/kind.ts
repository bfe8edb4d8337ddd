// The regression, as far as it is known before it is loaded: its networks, and the name of its data.

import { ConfigError } from '../../../base/errors.ts';
import { checkBatch, checkStages } from '../../layout.ts';
import { RUN_FIELDS } from '../../run-config.ts';
import { checkAxes, checkOwn } from '../kind.ts';
import type { TaskKind } from '../kind.ts';

export interface RegressionNetwork {
  readonly inputs: number;
  readonly outputs: number;
  readonly hidden: number;
  readonly layers: number;
}

/** See planted.ts. */
export const PLANTED = 'planted';

export const REGRESSION_PRESETS: Readonly<Record<string, RegressionNetwork | undefined>> = {
  'mlp-nano': { inputs: 8, outputs: 2, hidden: 32, layers: 4 },
};

export const kind: TaskKind = {
  name: 'regression',
  models: Object.keys(REGRESSION_PRESETS),
  data: [{ value: PLANTED, name: 'regression: planted' }],
  axes: ['pp', 'dp'],
  counts: 'rows',
  layersOf: (model) => REGRESSION_PRESETS[model]?.layers,
  needs: () => ({ text: false, tokens: false, model: false }),
  unused: ({ model }) => ({
    tokenizer: `${model} knows no tokens`,
    context: `${model} knows no tokens`,
    vocab: `${model} knows no tokens`,
    sequence: `${model} knows no tokens`,
    sampleEvery: `${model} writes no text`,
  }),
  check(config) {
    checkOwn(kind, config);
    const { model, layout, chunks } = config;
    for (const name of ['tokenizer', 'context', 'vocab'] as const)
      if (config[name] !== RUN_FIELDS[name].preset)
        throw new ConfigError(name, `${model} knows no tokens; leave it out`);
    checkAxes(kind, config);
    checkStages(REGRESSION_PRESETS[model]!.layers, layout, chunks);
    checkBatch(layout, config);
  },
};
