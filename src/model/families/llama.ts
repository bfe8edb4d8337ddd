// Llama (LlamaForCausalLM): h = embed[token]; per layer h += o_proj(attention(rope(qkv(norm h)))), h +=
// down(silu(gate(norm h)) * up(norm h)); logits = norm(h) head^T. Weights are [out, in], no biases. q, k, v and gate,
// up are each one product: their weights are glued row-wise on load. llama_hybrid is a Llama with some layers of linear
// attention. What Mixtral shares is exported.
// Source of the fields: LlamaConfig of Hugging Face transformers 4.20 to 5, and older spellings that files still carry.

import { ConfigError } from '../../base/errors.ts';
import { isArray } from '../../base/json.ts';
import type { JsonValue } from '../../base/json.ts';
import type { Tensor } from '../../device/tensor.ts';
import { rmsNorm } from '../../ops/rms-norm.ts';
import { rope } from '../../ops/rope.ts';
import { swiglu } from '../../ops/swiglu.ts';
import type { CommonConfig } from '../config.ts';
import { ATTENTION_SPLITS, defineFamily } from '../family.ts';
import type { PresetSizes } from '../family.ts';
import { COMMON_FIELDS, emptyList, exactly, harmless, only, read } from '../huggingface/field-rules.ts';
import type { FieldRules } from '../huggingface/field-rules.ts';
import { EPS, MAX_LAYERS } from '../huggingface/fields.ts';
import type { Fields } from '../huggingface/fields.ts';
import { ropeTheta } from '../huggingface/rope-fields.ts';
import { mixTokens } from '../mixing/mix-tokens.ts';
import type { LayerMixers } from '../mixing/mixer.ts';
import type { Network, NetworkContext } from '../network.ts';
import { headWeight, normal, ONES, residual, weight } from '../weight.ts';
import type { ModelWeights, Weight } from '../weight.ts';

/** What Llama and Mixtral share. */
export interface RotaryConfig extends CommonConfig {
  readonly ropeTheta: number;
  /** Tokens that attention looks back over; Infinity without a window. A run's context must not be longer. */
  readonly window: number;
}
export interface LlamaConfig extends RotaryConfig {
  readonly family: 'llama';
  /** Layers with causal linear attention instead of softmax attention (llama_hybrid); empty in a plain Llama. */
  readonly linearAttentionLayers: readonly number[];
}
declare module '../config.ts' {
  interface FamilyConfigs {
    readonly llama: LlamaConfig;
  }
}

const wholeAndPositive = (value: JsonValue): boolean => Number.isSafeInteger(value) && (value as number) >= 1;

export const ROTARY_FIELDS: FieldRules = {
  ...COMMON_FIELDS,
  ...read(`hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim intermediate_size hidden_act
    max_position_embeddings rms_norm_eps rope_theta rope_scaling rope_parameters sliding_window use_sliding_window
    attention_dropout`),
  ...harmless('read only by scaled rotary angles, which are refused', 'original_max_position_embeddings'),
  ...harmless('says what the model_type says', 'is_llama_config'),
  // Slices of one product, added up: the same function.
  pretraining_tp: only('a whole number of at least 1', wholeAndPositive, 'it counts slices of a matrix'),
  partial_rotary_factor: exactly(1, 'rotary angles on a part of each head are not implemented'),
  rope_interleaved: exactly(false, 'rotary angles of neighbouring pairs are not implemented'),
  attention_bias: exactly(false, 'biases of the attention are not implemented'),
  mlp_bias: exactly(false, 'biases of the MLP are not implemented'),
};

const LLAMA_HYBRID: FieldRules = {
  ...ROTARY_FIELDS,
  ...read('linear_attention_layers'),
  ...harmless(
    'read only with delta_layers',
    'delta_qk_activation delta_qk_norm delta_qk_norm_eps delta_beta delta_output_norm',
  ),
  linear_attention_feature_map: exactly('elu_plus_one', 'other feature maps are not implemented'),
  linear_attention_output_norm: exactly('rms_per_head', 'other norms are not implemented'),
  delta_layers: only('[]', emptyList, 'layers with the delta rule are not implemented'),
};

const LLAMA: FieldRules = {
  ...LLAMA_HYBRID,
  linear_attention_layers: only(
    '[]',
    emptyList,
    'only llama_hybrid has linear-attention layers; set model_type to llama_hybrid',
  ),
};

const ALIASES = { max_sequence_length: 'max_position_embeddings' };

type RotaryFields = Omit<RotaryConfig, 'family' | 'tied' | 'initStd' | 'raw' | 'warnings'>;

/** The fields that Llama and Mixtral share. */
export function readRotary(
  f: Fields,
  defaults: { kvHeads?: number; eps: number; positions: number; theta: number },
): RotaryFields {
  f.oneOf('hidden_act', ['silu', 'swish'], 'silu');
  f.dropout(['attention_dropout']);
  const hidden = f.natural('hidden_size');
  const heads = f.natural('num_attention_heads');
  // Null means one kv head per head, whatever the class has where the field is absent.
  const kvHeads = f.natural(
    'num_key_value_heads',
    f.raw.has('num_key_value_heads') ? heads : (defaults.kvHeads ?? heads),
  );
  if (heads % kvHeads) {
    throw new ConfigError('num_key_value_heads', `expected a divisor of num_attention_heads ${heads}, got ${kvHeads}`);
  }
  const headDim = f.has('head_dim')
    ? f.natural('head_dim')
    : f.divide('hidden_size', hidden, 'num_attention_heads', heads);
  if (headDim % 2) {
    throw new ConfigError('head_dim', `rotary angles turn pairs, so expected an even number, got ${headDim}`);
  }
  const windowed = f.boolean('use_sliding_window', true);
  return {
    layers: f.natural('num_hidden_layers', undefined, MAX_LAYERS),
    hidden,
    heads,
    kvHeads,
    headDim,
    mlp: f.natural('intermediate_size'),
    vocab: f.natural('vocab_size'),
    maxPositions: f.natural('max_position_embeddings', defaults.positions),
    normEps: f.number('rms_norm_eps', defaults.eps, EPS),
    ropeTheta: ropeTheta(f.raw, defaults.theta),
    window: windowed && f.has('sliding_window') ? f.natural('sliding_window') : Infinity,
  };
}

function readFields(f: Fields, modelType: string): LlamaConfig {
  const hybrid = modelType === 'llama_hybrid';
  const common = readRotary(f, { eps: 1e-6, positions: 2048, theta: 1e4 });
  const linear = f.raw.get('linear_attention_layers');
  const isLayer = (i: JsonValue): boolean => Number.isInteger(i) && (i as number) >= 0 && (i as number) < common.layers;
  if (hybrid && !(isArray(linear) && linear.every(isLayer))) {
    throw new ConfigError('linear_attention_layers', `expected a list of layers from 0 to ${common.layers - 1}`);
  }
  const linearAttentionLayers = hybrid ? [...new Set(linear as readonly number[])].sort((a, b) => a - b) : [];
  return {
    family: 'llama',
    ...common,
    linearAttentionLayers,
    tied: f.boolean('tie_word_embeddings', false),
    ...f.rest(),
  };
}

/** Of one layer: q, k and v are one parameter. */
export function attentionWeights(config: RotaryConfig, i: number): readonly Weight[] {
  const { hidden: D, heads, kvHeads, headDim } = config;
  const at = `model.layers.${i}.self_attn`;
  const any = normal(config);
  return [
    weight(`h${i}.qkv`, `${at}.q_proj.weight`, [heads * headDim, D], any, 'rows'),
    weight(`h${i}.qkv`, `${at}.k_proj.weight`, [kvHeads * headDim, D], any, 'rows'),
    weight(`h${i}.qkv`, `${at}.v_proj.weight`, [kvHeads * headDim, D], any, 'rows'),
    weight(`h${i}.o`, `${at}.o_proj.weight`, [D, heads * headDim], residual(config), 'columns'),
  ];
}

function mlpWeights(config: LlamaConfig, i: number): readonly Weight[] {
  const { hidden: D, mlp: M } = config;
  const at = `model.layers.${i}.mlp`;
  return [
    weight(`h${i}.gateUp`, `${at}.gate_proj.weight`, [M, D], normal(config), 'rows'),
    weight(`h${i}.gateUp`, `${at}.up_proj.weight`, [M, D], normal(config), 'rows'),
    weight(`h${i}.down`, `${at}.down_proj.weight`, [D, M], residual(config), 'columns'),
  ];
}

/** Those of a Llama whose layers have `mlp`. */
export function llamaWeights<C extends RotaryConfig>(
  config: C,
  mlp: (config: C, layer: number) => readonly Weight[],
): ModelWeights {
  const { hidden: D, vocab: V } = config;
  return {
    embedding: [weight('embed', 'model.embed_tokens.weight', [V, D], normal(config), 'vocabulary')],
    layer: (i) => [
      ...attentionWeights(config, i),
      ...mlp(config, i),
      weight(`h${i}.norm1`, `model.layers.${i}.input_layernorm.weight`, [D], ONES, 'whole'),
      weight(`h${i}.norm2`, `model.layers.${i}.post_attention_layernorm.weight`, [D], ONES, 'whole'),
    ],
    end: [weight('norm', 'model.norm.weight', [D], ONES, 'whole'), ...headWeight(config)],
  };
}

const mixersAt = ({ linearAttentionLayers }: LlamaConfig, layer: number): LayerMixers =>
  linearAttentionLayers.includes(layer) ? 'linear' : 'softmax';

/** h + o_proj(attention(rope(qkv(norm h)))), or another mixer in place of attention. */
export function attentionBlock(
  c: NetworkContext<RotaryConfig>,
  layer: number,
  x: Tensor,
  mixers: LayerMixers = 'softmax',
): Tensor {
  const { tape, parallelism: par, config } = c;
  const { headDim } = config;
  const heads = config.heads / par.tp.size;
  const kvHeads = config.kvHeads / par.tp.size;
  const qkv = par.columnLinear(tape, norm(c, x, `h${layer}.norm1`), c.param(`h${layer}.qkv`));
  const turned = tape.apply(
    rope,
    { x: qkv, cos: c.rotary!.cos, sin: c.rotary!.sin },
    {},
    {
      T: c.rotary!.cos.shape[0],
      heads: heads + 2 * kvHeads,
      rotaryHeads: heads + kvHeads,
      headDim,
      rotaryDim: headDim,
      interleaved: false,
    },
  );
  const attended = mixTokens(c, layer, mixers, turned);
  return par.rowLinear(tape, attended, c.param(`h${layer}.o`)).settle(x);
}

export function norm(c: NetworkContext<RotaryConfig>, x: Tensor, name: string): Tensor {
  return c.tape.apply(rmsNorm, { x }, { w: c.param(name) }, { eps: c.config.normEps });
}

/** All but the layers. */
export const llamaEnds: Pick<Network<RotaryConfig>, 'norm'> = { norm: (c, x) => norm(c, x, 'norm') };

const network: Network<LlamaConfig> = {
  ...llamaEnds,
  block(c, layer, x) {
    const mid = attentionBlock(c, layer, x, mixersAt(c.config, layer));
    const gateUp = c.parallelism.columnLinear(c.tape, norm(c, mid, `h${layer}.norm2`), c.param(`h${layer}.gateUp`));
    const active = c.tape.apply(swiglu, { gateUp }, {}, null);
    return c.parallelism.rowLinear(c.tape, active, c.param(`h${layer}.down`)).settle(mid);
  },
};

/** Of the config.json of a preset. */
export const rotaryPreset = (s: PresetSizes, vocab: number) => ({
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

/** The rotary frequencies and their tables. */
export const ROTARY_FILES = {
  prefix: 'model.',
  buffers:
    /^(?:model\.)?(?:layers\.\d+\.self_attn\.)?rotary_emb\.(?:inv_freq|original_inv_freq|cos_cached|sin_cached)$/,
};

export const family = defineFamily<LlamaConfig>({
  name: 'llama',
  modelTypes: { llama: { fields: LLAMA, aliases: ALIASES }, llama_hybrid: { fields: LLAMA_HYBRID, aliases: ALIASES } },
  read: readFields,
  weights: (config) => llamaWeights(config, mlpWeights),
  network,
  mixers: mixersAt,
  mixersField: 'linear_attention_layers',
  positions: (config) => ({ kind: 'rotary', theta: config.ropeTheta }),
  window: (config) => config.window,
  splits: ATTENTION_SPLITS,
  files: ROTARY_FILES,
  presets: {
    sizes: {
      'llama-nano': { layers: 2, hidden: 64, heads: 4, kvHeads: 2, context: 64 },
      'llama-micro': { layers: 4, hidden: 128, heads: 8, kvHeads: 4, context: 128 },
    },
    config: (s, vocab) => ({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      ...rotaryPreset(s, vocab),
      intermediate_size: 3 * s.hidden,
      rope_theta: 1e4,
      rope_scaling: null,
      attention_bias: false,
      mlp_bias: false,
    }),
  },
});
