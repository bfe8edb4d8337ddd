// A run of a small network that learns planted data. It needs no file.

import { initialWeight } from '../../../model/weights.ts';
import type { WeightSource } from '../../../model/param-spec.ts';
import { checkSchedule } from '../../../parallel/pipeline/registry.ts';
import { readCheckpoint } from '../../checkpoint.ts';
import { checkResumed } from '../../resume/contradictions.ts';
import { openCheckpoint } from '../../resume/open-checkpoint.ts';
import type { PrepareTask } from '../prepared.ts';
import { kind, PLANTED, REGRESSION_PRESETS } from './kind.ts';
import { plantedData } from './planted.ts';
import { Regression } from './regression.ts';

export const prepare: PrepareTask = (config, { checkpoint }) => {
  checkSchedule(config);
  kind.check(config);
  const network = REGRESSION_PRESETS[config.model]!;
  const task = new Regression(network);
  const dataset = plantedData({ network, batch: config.batch, seed: config.seed });
  const modelConfig = JSON.stringify({ model_type: 'tabmesh_regression', ...network });
  const prepared = { task, dataset, modelConfig, dataIdentity: `${PLANTED}:1` };
  if (!checkpoint) return { ...prepared, weights: firstWeights(task, config.seed), notes: [] };
  const about = openCheckpoint(checkpoint);
  const notes = checkResumed(about, { config, network: { ...network }, dataIdentity: prepared.dataIdentity });
  const resumed = readCheckpoint(checkpoint, task.weights);
  return { ...prepared, weights: resumed.weights, resumed, notes };
};

function firstWeights({ weights }: Regression, seed: number): WeightSource {
  const specs = new Map(weights.map((spec) => [spec.name, spec]));
  return (name) => ({ shape: specs.get(name)!.shape, data: initialWeight(specs.get(name)!, seed) });
}
