// Small models that train in a browser, as Hugging Face configs by name; the vocabulary comes from the tokenizer.
// Extents divide by 2 and 4, so that every preset splits over tensor, sequence and expert ranks.

import { ConfigError } from '../base/errors.ts';
import { parseModelConfig, type ModelConfig } from './config.ts';

interface Sizes {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly context: number;
}

const GPT2 = (s: Sizes, vocab: number) => ({
  architectures: ['GPT2LMHeadModel'],
  model_type: 'gpt2',
  n_layer: s.layers,
  n_embd: s.hidden,
  n_head: s.heads,
  n_positions: s.context,
  n_ctx: s.context,
  n_inner: null,
  activation_function: 'gelu_new',
  layer_norm_epsilon: 1e-5,
  initializer_range: 0.02,
  resid_pdrop: 0,
  embd_pdrop: 0,
  attn_pdrop: 0,
  tie_word_embeddings: true,
  vocab_size: vocab,
  bos_token_id: null,
  eos_token_id: null,
  torch_dtype: 'float32',
});
const ROTARY = (s: Sizes, vocab: number) => ({
  num_hidden_layers: s.layers,
  hidden_size: s.hidden,
  num_attention_heads: s.heads,
  num_key_value_heads: s.kvHeads,
  max_position_embeddings: s.context,
  hidden_act: 'silu',
  initializer_range: 0.02,
  rms_norm_eps: 1e-5,
  vocab_size: vocab,
  tie_word_embeddings: false,
  attention_dropout: 0,
  bos_token_id: null,
  eos_token_id: null,
  torch_dtype: 'float32',
});
const LLAMA = (s: Sizes, vocab: number) => ({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  ...ROTARY(s, vocab),
  intermediate_size: 3 * s.hidden,
  rope_theta: 1e4,
  rope_scaling: null,
  attention_bias: false,
  mlp_bias: false,
});
const MIXTRAL = (s: Sizes, vocab: number) => ({
  architectures: ['MixtralForCausalLM'],
  model_type: 'mixtral',
  ...ROTARY(s, vocab),
  intermediate_size: 2 * s.hidden,
  rope_theta: 1e4,
  num_local_experts: 4,
  num_experts_per_tok: 2,
  output_router_logits: false,
  sliding_window: null,
});

const PRESETS = {
  'gpt2-nano': { make: GPT2, sizes: { layers: 2, hidden: 64, heads: 4, kvHeads: 4, context: 64 } },
  'gpt2-micro': { make: GPT2, sizes: { layers: 4, hidden: 128, heads: 4, kvHeads: 4, context: 128 } },
  'gpt2-mini': { make: GPT2, sizes: { layers: 8, hidden: 256, heads: 8, kvHeads: 8, context: 256 } },
  'llama-nano': { make: LLAMA, sizes: { layers: 2, hidden: 64, heads: 4, kvHeads: 2, context: 64 } },
  'llama-micro': { make: LLAMA, sizes: { layers: 4, hidden: 128, heads: 8, kvHeads: 4, context: 128 } },
  'mixtral-nano': { make: MIXTRAL, sizes: { layers: 2, hidden: 64, heads: 4, kvHeads: 2, context: 64 } },
} as const;
export type PresetName = keyof typeof PRESETS;
export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[];

export function isPresetName(name: string): name is PresetName {
  return Object.hasOwn(PRESETS, name);
}

/** The config of preset `name` with `vocab` tokens. `context` and `layers` replace the preset's own. */
export function presetConfig(
  name: string,
  vocab: number,
  change: { readonly context?: number; readonly layers?: number } = {},
): ModelConfig {
  if (!isPresetName(name))
    throw new ConfigError(
      'model',
      `expected a preset (${PRESET_NAMES.join(', ')}) or a model folder, got ${JSON.stringify(name)}`,
    );
  const { make, sizes } = PRESETS[name];
  return parseModelConfig(JSON.stringify(make({ ...sizes, ...change }, vocab)));
}

/** Context length of preset `name` as it stands. */
export function presetContext(name: PresetName): number {
  return PRESETS[name].sizes.context;
}
