// What a family of models says of itself, all of it in one file of families/: how its config.json is read, its weights,
// its network, its presets, and what the rest of the house has to know about it. The rest asks `familyOf(config)`
// (registry.ts) and compares no names.

import type { CommonConfig, ModelConfig } from './config.ts';
import type { ConfigFields } from './huggingface/field-rules.ts';
import type { Fields } from './huggingface/fields.ts';
import type { LayerMixers } from './mixing/mixer.ts';
import type { Network } from './network.ts';
import type { ModelWeights } from './weight.ts';

export interface ModelFamily<C extends CommonConfig = ModelConfig> {
  /** `family` of its configs. */
  readonly name: C['family'];
  /** By the `model_type` of config.json that are of this family: what its fields may say. */
  readonly modelTypes: Readonly<Record<string, ConfigFields>>;
  /** The config of checked fields; ConfigError or UnsupportedError for a value that cannot be computed with. */
  read(fields: Fields, modelType: string): C;
  /** Every weight, once: files, first values, and the parameters of a stage on a rank all follow from this list. */
  weights(config: C): ModelWeights;
  readonly network: Network<C>;
  /** How layer `layer` mixes tokens; its block hands that to mixTokens. */
  mixers(config: C, layer: number): LayerMixers;
  /** The field of config.json that chooses them, for refusals. */
  readonly mixersField?: string;
  /** How a token's place gets into the network. */
  positions(config: C): Positions;
  /** Tokens that attention looks back over; absent: all. A run's context must not be longer. */
  window?(config: C): number;
  /** What the axes of a layout divide. */
  readonly splits: readonly Split<C>[];
  /** Of a family whose MLP is a mixture of experts. */
  experts?(config: C): Experts;
  readonly files: WeightFiles;
  readonly presets: Presets;
}

/** `learned`: a table of the network; `rotary`: angles of the base `theta` on all of a head's queries and keys. */
export type Positions = { readonly kind: 'learned' } | { readonly kind: 'rotary'; readonly theta: number };

/** An extent that must divide by the ranks of an axis. */
export interface Split<C extends CommonConfig = ModelConfig> {
  readonly axis: 'tp' | 'ep';
  /** For refusals: 'kv heads'. */
  readonly what: string;
  extent(config: C): number;
  /** For people who choose a layout: '2 of 8 heads'. Absent: not shown. */
  readonly share?: string;
  /** One of them where they are numbered: 'head 3'. */
  readonly one?: string;
}

/** Of a network of attention and MLP: whole heads, and channels of the MLP. */
export const ATTENTION_SPLITS: readonly Split<CommonConfig>[] = [
  { axis: 'tp', what: 'heads', extent: (config) => config.heads, share: 'heads', one: 'head' },
  { axis: 'tp', what: 'kv heads', extent: (config) => config.kvHeads },
  { axis: 'tp', what: 'mlp width', extent: (config) => config.mlp, share: 'channels of the MLP' },
];

export interface Experts {
  readonly count: number;
  /** How many each token goes to. */
  readonly perToken: number;
}

/** Names in safetensors files. */
export interface WeightFiles {
  /** What names may lack: 'model.'. */
  readonly prefix: string;
  /** Of tensors that old files carry and every reader computes for itself. */
  readonly buffers: RegExp;
}

export interface PresetSizes {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly context: number;
}

/**
 * Small models that train in a browser. Extents divide by 2 and 4, so that every preset splits over tensor, sequence
 * and expert ranks.
 */
export interface Presets {
  readonly sizes: Readonly<Record<string, PresetSizes>>;
  /** The config.json of these sizes with `vocab` tokens. */
  config(sizes: PresetSizes, vocab: number): Readonly<Record<string, unknown>>;
}

/** Checks a family against its own config, and gives it as one of any. */
export function defineFamily<C extends CommonConfig>(family: ModelFamily<C>): ModelFamily {
  return family as unknown as ModelFamily;
}
