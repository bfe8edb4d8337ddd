// From a RunConfig and the files it names to what a trainer needs: model, data, tokenizer, weights. Reads no file itself: the page fetches, the
// command line reads. Everything is checked here, before a device is touched; errors say which file or field.

import { ConfigError, UnsupportedError } from '../base/errors.ts';
import { readSafetensors } from '../base/safetensors.ts';
import { parseModelConfig } from '../model/config.ts';
import type { ModelConfig } from '../model/config.ts';
import { networkOf } from '../model/networks.ts';
import { isPresetName, presetConfig, presetContext } from '../model/presets.ts';
import { initialWeight, weightSpecs } from '../model/weights.ts';
import { checkWeights } from '../model/huggingface/weights-file.ts';
import { taskIdentity, textIdentity, tokensIdentity } from './data-identity.ts';
import { textDataset, tokensDataset } from './dataset.ts';
import type { Dataset } from './dataset.ts';
import { checkLayout } from './layout.ts';
import type { RunConfig } from './run-config.ts';
import { TASK_NAMES, taskDataset } from './tasks.ts';
import type { TaskName } from './tasks.ts';
import { makeTokenizer, parseTokenizer } from './text/tokenizer-file.ts';
import type { Tokenizer } from './text/tokenizer.ts';
import type { WeightSource } from './trainer.ts';

/** Contents of the files of a run; which ones are needed depends on the config. */
export interface RunFiles {
  /** config.json and model.safetensors of a model folder. */
  readonly modelConfig?: string;
  readonly weights?: Uint8Array<ArrayBuffer>;
  /** tokens.safetensors. */
  readonly tokens?: Uint8Array<ArrayBuffer>;
  /** The text to learn. */
  readonly text?: string;
  /** tokenizer JSON saved with a model; made from the text if absent. */
  readonly tokenizer?: string;
}

export interface PreparedRun {
  readonly model: ModelConfig;
  readonly dataset: Dataset;
  readonly tokenizer: Tokenizer | undefined;
  readonly context: number;
  readonly weights: WeightSource;
  /** What the run learns from, for checkpoints; see data-identity.ts. */
  readonly dataIdentity: string;
  /** What was chosen or left out on the way, a sentence each, for whoever watches. */
  readonly notes: readonly string[];
}

function isTask(name: string): name is TaskName { return (TASK_NAMES as readonly string[]).includes(name); }

/** Needed files: a text unless the data is a task or tokens; config.json and weights unless the model is a preset. */
export function neededFiles(config: RunConfig): { text: boolean; tokens: boolean; model: boolean } {
  return { text: !isTask(config.data) && config.data !== 'tokens', tokens: config.data === 'tokens', model: !isPresetName(config.model) };
}

export function prepareRun(config: RunConfig, files: RunFiles): PreparedRun {
  const needed = neededFiles(config);
  if (needed.model && files.modelConfig === undefined) throw new ConfigError('model', `"${config.model}" is no preset, and its folder has no config.json`);
  const folder = needed.model ? parseModelConfig(files.modelConfig!) : undefined;
  const context = config.context ?? folder?.maxPositions ?? (isPresetName(config.model) ? presetContext(config.model) : 0);
  if (folder) checkImplemented(folder, context);
  const { dataset, tokenizer, dataIdentity, notes } = prepareData(config, files, context, folder);
  const model = folder ?? presetConfig(config.model, dataset.vocab, config.context === null ? {} : { context });
  if (dataset.vocab > model.vocab) throw new ConfigError('data', `has ${dataset.vocab} different tokens, but the model's vocabulary is ${model.vocab}; use the tokenizer that the model was trained with, or a preset`);
  if (dataset.batch !== config.batch) throw new ConfigError('batch', `is ${config.batch}, but the data has ${dataset.batch} rows a step; use batch=${dataset.batch}`);
  if (dataset.context !== context) throw new ConfigError('context', `is ${context}, but the data has ${dataset.context} tokens a row; use context=${dataset.context}`);
  checkLayout(model, config.layout, { batch: config.batch, microbatches: config.microbatches, context, chunks: config.chunks });
  const told = [...model.warnings, ...notes];
  const weights = weightSource(config, model, files, (text) => told.push(text));
  return { model, dataset, tokenizer, context, weights, dataIdentity, notes: told };
}

/** UnsupportedError for what a readable config asks for and no network here computes, before anything else is read. */
function checkImplemented(model: ModelConfig, context: number): void {
  networkOf(model);
  // A window that no row outgrows hides nothing.
  if (model.family === 'gpt2' || context <= model.window) return;
  throw new UnsupportedError('sliding_window',
    `expected at least the context of ${context}, got ${model.window}: attention in windows is not implemented; use context=${model.window} or less`);
}

function prepareData(config: RunConfig, files: RunFiles, context: number, folder: ModelConfig | undefined): Pick<PreparedRun, 'dataset' | 'tokenizer' | 'dataIdentity' | 'notes'> {
  const { batch, seed } = config;
  if (config.data === 'tokens') {
    if (!files.tokens) throw new ConfigError('data', 'tokens: the file tokens.safetensors is missing; name it with --tokens');
    return { dataset: tokensDataset(readSafetensors(files.tokens), folder?.vocab ?? 2 ** 31 - 1), tokenizer: undefined, dataIdentity: tokensIdentity(files.tokens), notes: [] };
  }
  if (isTask(config.data)) return { dataset: taskDataset({ task: config.data, context, batch, seed }), tokenizer: undefined, dataIdentity: taskIdentity(config.data), notes: [] };
  if (files.text === undefined) throw new ConfigError('data', `"${config.data}" could not be read; expected moby-dick, ${TASK_NAMES.join(', ')}, tokens or a text file`);
  const tokenizer = files.tokenizer === undefined ? makeTokenizer(config.tokenizer, files.text) : parseTokenizer(files.tokenizer);
  return { dataset: textDataset({ tokens: tokenizer.encode(files.text), vocab: tokenizer.vocab, context, batch, seed }), tokenizer, dataIdentity: textIdentity(files.text, tokenizer), notes: [] };
}

function weightSource(config: RunConfig, model: ModelConfig, files: RunFiles, onNote: (text: string) => void): WeightSource {
  const shapes = new Map(weightSpecs(model).map((spec) => [spec.name, spec]));
  const loaded = files.weights ? checkWeights(model, readSafetensors(files.weights, { label: 'model.safetensors' }), undefined, onNote) : undefined;
  if (!loaded && neededFiles(config).model) throw new ConfigError('model', `"${config.model}" has no model.safetensors`);
  const made = new Map<string, Float32Array>();
  return (name) => {
    const spec = shapes.get(name);
    if (!spec) throw new ConfigError('model', `the network asks for a weight ${name} that the format does not have`);
    let data: Float32Array | undefined = loaded?.get(name) ?? made.get(name);
    if (!data) made.set(name, (data = initialWeight(spec, config.seed)));
    return { shape: spec.shape, data };
  };
}
