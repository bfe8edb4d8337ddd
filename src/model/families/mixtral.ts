// Mixtral (MixtralForCausalLM): a Llama whose MLP is block_sparse_moe, top-k of E SwiGLU experts. w1 and w3 are glued
// per expert into one [2F, D] block; under ep a rank holds E/ep whole experts, under tp each expert's F is cut.
// Source of the fields: MixtralConfig of Hugging Face transformers 4.20 to 5, with its attribute_map.

import { ConfigError, UnsupportedError } from '../../base/errors.ts';
import { ATTENTION_SPLITS, defineFamily } from '../family.ts';
import { exactly, read } from '../huggingface/field-rules.ts';
import type { FieldRules } from '../huggingface/field-rules.ts';
import type { Fields } from '../huggingface/fields.ts';
import type { Network } from '../network.ts';
import { normal, residual, weight } from '../weight.ts';
import type { Weight } from '../weight.ts';
import {
  attentionBlock,
  llamaEnds,
  llamaWeights,
  norm,
  readRotary,
  ROTARY_FIELDS,
  ROTARY_FILES,
  rotaryPreset,
} from './llama.ts';
import type { RotaryConfig } from './llama.ts';

export interface MixtralConfig extends RotaryConfig {
  readonly family: 'mixtral';
  readonly experts: number;
  readonly expertsPerToken: number;
}
declare module '../config.ts' {
  interface FamilyConfigs {
    readonly mixtral: MixtralConfig;
  }
}

const MAX_EXPERTS = 1024;

const FIELDS: FieldRules = {
  ...ROTARY_FIELDS,
  ...read('num_local_experts num_experts_per_tok output_router_logits router_aux_loss_coef'),
  router_jitter_noise: exactly(0, 'noise on the input of the router is not implemented'),
  norm_topk_prob: exactly(true, 'gates that are not divided by their sum are not implemented'),
};

function readFields(f: Fields): MixtralConfig {
  const common = readRotary(f, { kvHeads: 8, eps: 1e-5, positions: 131072, theta: 1e6 });
  const coefficient = f.number('router_aux_loss_coef', 0.001, {
    what: 'a number of at least 0',
    least: 0,
    most: Number.MAX_VALUE,
  });
  if (f.boolean('output_router_logits', false) && coefficient !== 0) {
    throw new UnsupportedError(
      'output_router_logits',
      `only false is supported, got true with router_aux_loss_coef ${coefficient}: the router's auxiliary loss is not implemented`,
    );
  }
  const experts = f.natural('num_local_experts', 8, MAX_EXPERTS);
  const expertsPerToken = f.natural('num_experts_per_tok', 2);
  if (expertsPerToken > experts) {
    throw new ConfigError(
      'num_experts_per_tok',
      `expected at most num_local_experts ${experts}, got ${expertsPerToken}`,
    );
  }
  return {
    family: 'mixtral',
    ...common,
    experts,
    expertsPerToken,
    tied: f.boolean('tie_word_embeddings', false),
    ...f.rest(),
  };
}

function expertWeights(config: MixtralConfig, i: number): readonly Weight[] {
  const { hidden: D, mlp: M, experts } = config;
  const at = `model.layers.${i}.block_sparse_moe`;
  const [any, small] = [normal(config), residual(config)];
  const weightsOf = (index: number): readonly Weight[] => {
    const own = `${at}.experts.${index}`;
    const expert = { index, of: experts };
    return [
      weight(`h${i}.expertsGateUp`, `${own}.w1.weight`, [M, D], any, 'rows', { expert }),
      weight(`h${i}.expertsDown`, `${own}.w2.weight`, [D, M], small, 'columns', { expert }),
      weight(`h${i}.expertsGateUp`, `${own}.w3.weight`, [M, D], any, 'rows', { expert }),
    ];
  };
  return [
    weight(`h${i}.router`, `${at}.gate.weight`, [experts, D], any, 'whole'),
    ...Array.from({ length: experts }, (_, index) => weightsOf(index)).flat(),
  ];
}

const network: Network<MixtralConfig> = {
  ...llamaEnds,
  block(c, layer, x) {
    const { experts, expertsPerToken } = c.config;
    const mid = attentionBlock(c, layer, x);
    const weights = {
      gate: c.param(`h${layer}.router`),
      gateUp: c.param(`h${layer}.expertsGateUp`),
      down: c.param(`h${layer}.expertsDown`),
    };
    return c.parallelism.experts(
      c.tape,
      norm(c, mid, `h${layer}.norm2`),
      weights,
      { experts, perToken: expertsPerToken },
      mid,
    );
  },
};

export const family = defineFamily<MixtralConfig>({
  name: 'mixtral',
  modelTypes: { mixtral: { fields: FIELDS, aliases: { num_experts: 'num_local_experts' } } },
  read: readFields,
  weights: (config) => llamaWeights(config, expertWeights),
  network,
  mixers: () => 'softmax',
  positions: (config) => ({ kind: 'rotary', theta: config.ropeTheta }),
  window: (config) => config.window,
  splits: [
    ...ATTENTION_SPLITS,
    { axis: 'ep', what: 'experts', extent: (config) => config.experts, share: 'experts', one: 'expert' },
  ],
  experts: (config) => ({ count: config.experts, perToken: config.expertsPerToken }),
  files: ROTARY_FILES,
  presets: {
    sizes: { 'mixtral-nano': { layers: 2, hidden: 64, heads: 4, kvHeads: 2, context: 64 } },
    config: (s, vocab) => ({
      architectures: ['MixtralForCausalLM'],
      model_type: 'mixtral',
      ...rotaryPreset(s, vocab),
      intermediate_size: 2 * s.hidden,
      rope_theta: 1e4,
      num_local_experts: 4,
      num_experts_per_tok: 2,
      output_router_logits: false,
      sliding_window: null,
    }),
  },
});
