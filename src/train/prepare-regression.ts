// The second task of a run: a small network that learns planted data. It needs no file.

import { formatLayout } from '../base/axis.ts';
import { ConfigError, LayoutError } from '../base/errors.ts';
import { quote } from '../base/json.ts';
import { initialWeight } from '../model/weights.ts';
import type { WeightSource } from '../model/param-spec.ts';
import { scheduleByName } from '../parallel/pipeline/registry.ts';
import { readCheckpoint } from './checkpoint.ts';
import { plantedData } from './data/planted.ts';
import { checkBatch, checkStages } from './layout.ts';
import { checkResumed } from './resume/contradictions.ts';
import { openCheckpoint } from './resume/open-checkpoint.ts';
import { RUN_FIELDS } from './run-config.ts';
import type { RunConfig } from './run-config.ts';
import { PLANTED, REGRESSION_PRESETS } from './tasks/regression-presets.ts';
import { Regression } from './tasks/regression.ts';
import type { PreparedRun } from './prepare.ts';

/** ConfigError or LayoutError says which setting is wrong. */
export function prepareRegression(config: RunConfig, checkpoint: Uint8Array<ArrayBuffer> | undefined): PreparedRun {
  const network = REGRESSION_PRESETS[config.model];
  const names = Object.keys(REGRESSION_PRESETS).join(', ');
  if (!network)
    throw new ConfigError(
      'model',
      `${quote(PLANTED)} is learnt by ${names}, got ${quote(config.model)}; use one of them`,
    );
  if (config.data !== PLANTED)
    throw new ConfigError(
      'data',
      `${config.model} learns ${quote(PLANTED)}, got ${quote(config.data)}; use data=${PLANTED}`,
    );
  for (const name of ['tokenizer', 'context'] as const)
    if (config[name] !== RUN_FIELDS[name].preset)
      throw new ConfigError(name, `${config.model} knows no tokens; leave it out`);
  scheduleByName(config.schedule).check?.({
    ranks: config.layout.pp,
    chunks: config.chunks,
    microbatches: config.microbatches,
  });
  const { pp, dp, ...others } = config.layout;
  if (Object.values(others).some((size) => size > 1))
    throw new LayoutError(
      `layout: ${config.model} is cut by layers (pp) and rows (dp) alone, got ${formatLayout(config.layout)}; use pp=${pp},dp=${dp}`,
    );
  checkStages(network.layers, config.layout, config.chunks);
  checkBatch(config.layout, config);
  const task = new Regression(network);
  const dataset = plantedData({ network, batch: config.batch, seed: config.seed });
  const modelConfig = JSON.stringify({ model_type: 'tabmesh_regression', ...network });
  const prepared = { task, dataset, modelConfig, dataIdentity: `${PLANTED}:1` };
  if (!checkpoint) return { ...prepared, weights: firstWeights(task, config.seed), notes: [] };
  const about = openCheckpoint(checkpoint);
  const notes = checkResumed(about, { config, network: { ...network }, dataIdentity: prepared.dataIdentity });
  const resumed = readCheckpoint(checkpoint, task.weights);
  return { ...prepared, weights: resumed.weights, resumed, notes };
}

function firstWeights({ weights }: Regression, seed: number): WeightSource {
  const specs = new Map(weights.map((spec) => [spec.name, spec]));
  return (name) => ({ shape: specs.get(name)!.shape, data: initialWeight(specs.get(name)!, seed) });
}
