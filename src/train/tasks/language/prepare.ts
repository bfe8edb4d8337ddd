// A run of a language model: model, data, tokenizer, weights, from a preset or a model folder.

import { ConfigError, FormatError, UnsupportedError } from '../../../base/errors.ts';
import { readSafetensors } from '../../../base/safetensors.ts';
import { formatModelConfig, parseModelConfig } from '../../../model/config.ts';
import type { ModelConfig } from '../../../model/config.ts';
import { checkWeights } from '../../../model/huggingface/weights-file.ts';
import type { WeightSource } from '../../../model/param-spec.ts';
import { isPresetName, presetConfig, presetContext } from '../../../model/presets.ts';
import { familyOf, mixersOf, networkOf } from '../../../model/registry.ts';
import { initialWeight, weightSpecs } from '../../../model/weights.ts';
import { checkSchedule } from '../../../parallel/pipeline/registry.ts';
import { sequenceStrategy } from '../../../parallel/sequence/registry.ts';
import { readCheckpoint } from '../../checkpoint.ts';
import type { Dataset } from '../../data/dataset.ts';
import { checkLayout } from '../../layout.ts';
import { checkResumed } from '../../resume/contradictions.ts';
import { openCheckpoint } from '../../resume/open-checkpoint.ts';
import type { CheckpointAbout } from '../../resume/open-checkpoint.ts';
import type { RunConfig } from '../../run-config.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import type { PreparedRun, PrepareOptions, PrepareTask, RunFiles } from '../prepared.ts';
import { kind } from './kind.ts';
import { LanguageModel } from './language-model.ts';
import { prepareData } from './prepare-data.ts';
import type { PreparedData } from './prepare-data.ts';

/** Of language modelling. */
export interface PreparedLanguage extends PreparedRun, PreparedData {
  readonly task: LanguageModel;
  readonly dataset: Dataset;
  readonly tokenizer: Tokenizer | undefined;
  readonly model: ModelConfig;
  /** Tokens per row. */
  readonly context: number;
}

export function isLanguage(prepared: PreparedRun): prepared is PreparedLanguage {
  return prepared.task instanceof LanguageModel;
}

/** The same as `prepare`, with the type of what it makes. */
export function prepareLanguage(config: RunConfig, given: RunFiles, options: PrepareOptions = {}): PreparedLanguage {
  const about = given.checkpoint && openCheckpoint(given.checkpoint);
  const files = about
    ? { ...given, modelConfig: given.modelConfig ?? about.modelConfig, tokenizer: given.tokenizer ?? about.tokenizer }
    : given;
  const needed = kind.needs(config);
  if (needed.model && files.modelConfig === undefined)
    throw new ConfigError('model', `"${config.model}" is no preset, and its folder has no config.json`);
  const folder = needed.model ? parseModelConfig(files.modelConfig!) : undefined;
  // A file of tokens says itself how long its rows are.
  const wanted =
    config.context ??
    (needed.tokens ? null : (folder?.maxPositions ?? (isPresetName(config.model) ? presetContext(config.model) : 0)));
  if (folder) checkImplemented(folder, wanted ?? 1);
  const data = readable(about, () => prepareData({ ...options, config, files, context: wanted, folder }));
  const { dataset } = data;
  const context = wanted ?? dataset.context;
  if (folder) checkImplemented(folder, context);
  const model =
    folder ?? presetConfig(config.model, dataset.vocab, config.context === null && !needed.tokens ? {} : { context });
  if (dataset.vocab > model.vocab)
    throw new ConfigError(
      'data',
      `has ${dataset.vocab} different tokens, but the model's vocabulary is ${model.vocab}; use a model with more, or a preset`,
    );
  if (dataset.batch !== config.batch)
    throw new ConfigError(
      'batch',
      `is ${config.batch}, but the data has ${dataset.batch} rows a step; use batch=${dataset.batch}`,
    );
  if (dataset.context !== context)
    throw new ConfigError(
      'context',
      `is ${context}, but the data has ${dataset.context} tokens a row; use context=${dataset.context}`,
    );
  checkSequence(config, model);
  checkSchedule(config);
  checkLayout(model, config.layout, {
    batch: config.batch,
    microbatches: config.microbatches,
    context,
    chunks: config.chunks,
    vocab: config.vocab,
  });
  const notes = [...model.warnings, ...data.notes];
  const { sequence } = config;
  const task = new LanguageModel({ model, context, sequence, packed: dataset.packed ?? false });
  const prepared = { ...data, task, model, modelConfig: formatModelConfig(model), context };
  if (about) {
    notes.push(...checkResumed(about, { config, network: { ...model }, dataIdentity: data.dataIdentity }));
    const resumed = readCheckpoint(files.checkpoint!, task.weights);
    return { ...prepared, weights: resumed.weights, resumed, notes };
  }
  const weights = weightSource(config, model, files, (text) => notes.push(text));
  return { ...prepared, weights, notes };
}

export const prepare: PrepareTask = prepareLanguage;

/** A sequence that is split needs a strategy for every mixer of the model. */
function checkSequence({ sequence, layout }: RunConfig, model: ModelConfig): void {
  const { serves, name } = sequenceStrategy(sequence);
  const missing = layout.sp > 1 ? mixersOf(model).find((mixer) => !serves.includes(mixer)) : undefined;
  if (missing !== undefined)
    throw new UnsupportedError(
      'sequence',
      `expected a strategy for ${missing} attention, got ${name} (${serves.join(', ')})`,
    );
}

/** A tokenizer of a checkpoint that meets another text may not even know its characters. */
function readable<T>(about: CheckpointAbout | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!about || !(error instanceof FormatError)) throw error;
    throw new ConfigError(
      'data',
      `the tokenizer of the checkpoint cannot read it (${error.message}); give what it was trained on ("${about.config.data}")`,
    );
  }
}

/** UnsupportedError for what a readable config asks for and no network here computes, before anything else is read. */
function checkImplemented(model: ModelConfig, context: number): void {
  networkOf(model);
  // A window that no row outgrows hides nothing.
  const window = familyOf(model).window?.(model) ?? Infinity;
  if (context <= window) return;
  throw new UnsupportedError(
    'sliding_window',
    `expected at least the context of ${context}, got ${window}: attention in windows is not implemented; use context=${window} or less`,
  );
}

function weightSource(
  config: RunConfig,
  model: ModelConfig,
  files: RunFiles,
  onNote: (text: string) => void,
): WeightSource {
  const shapes = new Map(weightSpecs(model).map((spec) => [spec.name, spec]));
  const loaded = files.weights
    ? checkWeights(model, readSafetensors(files.weights, { label: 'model.safetensors' }), undefined, onNote)
    : undefined;
  if (!loaded && kind.needs(config).model) throw new ConfigError('model', `"${config.model}" has no model.safetensors`);
  const made = new Map<string, Float32Array>();
  return (name) => {
    const spec = shapes.get(name);
    if (!spec) throw new ConfigError('model', `the network asks for a weight ${name} that the format does not have`);
    let data: Float32Array | undefined = loaded?.get(name) ?? made.get(name);
    if (!data) made.set(name, (data = initialWeight(spec, config.seed)));
    return { shape: spec.shape, data };
  };
}
