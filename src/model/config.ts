// Hugging Face config.json as one ModelConfig. Which fields may stand there, and with which values, says the family of
// its `model_type` (families/): what would change the mathematics and is not implemented is an UnsupportedError.
// Dropout alone is a warning, because every GPT-2 names it and the network is the same without it. `raw` keeps the
// whole file for writing it back.

import { ConfigError, UnsupportedError } from '../base/errors.ts';
import { isObject, parseJson, toPlain, type JsonObject } from '../base/json.ts';
import { checkFields, shorten } from './huggingface/field-rules.ts';
import { choices, Fields } from './huggingface/fields.ts';
import { modelTypes } from './registry.ts';

/** What every network has. */
export interface CommonConfig {
  /** Name of its family. */
  readonly family: string;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  /** Key and value heads; query head h reads floor(h * kvHeads / heads). Equal to `heads` in GPT-2. */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the MLP, of each expert in Mixtral. */
  readonly mlp: number;
  readonly vocab: number;
  readonly maxPositions: number;
  readonly normEps: number;
  /** The output projection is the embedding table. */
  readonly tied: boolean;
  /** Standard deviation of the initial weights. */
  readonly initStd: number;
  readonly raw: JsonObject;
  /** What the file asks for and we leave out, one sentence each. */
  readonly warnings: readonly string[];
}

/** The config of each family by its name: every file of families/ declares its own here. */
export interface FamilyConfigs {}
export type ModelConfig = FamilyConfigs[keyof FamilyConfigs];

/** The config in the text of a config.json. */
export function parseModelConfig(text: string): ModelConfig {
  const json = parseJson(text, { format: 'config.json', maxDepth: 8 });
  if (!isObject(json)) throw new ConfigError('config.json', 'expected an object');
  return readModelConfig(json);
}

export function readModelConfig(raw: JsonObject): ModelConfig {
  const type = raw.get('model_type') ?? null;
  const known = [...modelTypes.keys()];
  if (type === null) throw new ConfigError('model_type', `expected ${choices(known)}, but the field is missing`);
  const found = typeof type === 'string' ? modelTypes.get(type) : undefined;
  if (!found) throw new UnsupportedError('model_type', `expected ${choices(known)}, got ${shorten(type)}`);
  const { family, fields } = found;
  checkFields(raw, type as string, fields);
  return family.read(new Fields(raw, fields.aliases), type as string);
}

/**
 * The text of a config.json beside f32 weights: the original fields, in order, but the dtype is what the weights have
 * now.
 */
export function formatModelConfig(config: ModelConfig): string {
  const raw = new Map(config.raw);
  for (const name of ['torch_dtype', 'dtype']) if ((raw.get(name) ?? null) !== null) raw.set(name, 'float32');
  return `${JSON.stringify(toPlain(raw), null, 2)}\n`;
}
