// Every field of the Hugging Face configs of our families is decided, and no value that changes the network slips
// through.

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError, UnsupportedError } from '../../src/base/errors.ts';
import { parseModelConfig, type ModelConfig } from '../../src/model/config.ts';
import { modelTypes } from '../../src/model/registry.ts';

const MODEL_TYPES = [...modelTypes.keys()];
const rulesOf = (type: string) => modelTypes.get(type)!.fields.fields;
const aliasesOf = (type: string) => modelTypes.get(type)!.fields.aliases;

const words = (text: string): string[] => text.split(/\s+/).filter(Boolean);
// Written down from the sources of transformers, not from our table: parameters of __init__, dataclass fields,
// attribute_map, popped kwargs.
const PRETRAINED = words(`
  output_hidden_states output_attentions return_dict torchscript torch_dtype dtype use_bfloat16 tf_legacy_loss pruned_heads tie_word_embeddings
  chunk_size_feed_forward is_encoder_decoder is_decoder cross_attention_hidden_size add_cross_attention tie_encoder_decoder architectures
  finetuning_task id2label label2id num_labels task_specific_params problem_type tokenizer_class prefix bos_token_id pad_token_id eos_token_id
  sep_token_id decoder_start_token_id name_or_path _name_or_path _commit_hash attn_implementation _attn_implementation experts_implementation
  transformers_version gradient_checkpointing per_layer_config model_type quantization_config auto_map
  max_length min_length do_sample use_cache early_stopping num_beams temperature top_k top_p typical_p repetition_penalty length_penalty
  no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores return_dict_in_generate
  forced_bos_token_id forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
  epsilon_cutoff eta_cutoff encoder_repetition_penalty num_assistant_tokens num_assistant_tokens_schedule assistant_confidence_threshold
  assistant_lookbehind target_lookbehind num_beam_groups diversity_penalty`);
const ROPE = words('rope_theta rope_scaling rope_parameters partial_rotary_factor original_max_position_embeddings');
const SOURCES: Readonly<Record<string, readonly string[]>> = {
  gpt2: [
    ...PRETRAINED,
    ...words(`
    vocab_size n_positions n_embd n_layer n_head n_inner activation_function resid_pdrop embd_pdrop attn_pdrop layer_norm_epsilon
    initializer_range summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout scale_attn_weights
    scale_attn_by_inverse_layer_idx reorder_and_upcast_attn hidden_size max_position_embeddings num_attention_heads num_hidden_layers
    n_ctx n_special predict_special_tokens vocab_size_or_config_json_file`),
  ],
  llama: [
    ...PRETRAINED,
    ...ROPE,
    ...words(`
    vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads hidden_act max_position_embeddings
    initializer_range rms_norm_eps pretraining_tp attention_bias attention_dropout mlp_bias head_dim max_sequence_length`),
  ],
  llama_hybrid:
    words(`linear_attention_layers linear_attention_feature_map linear_attention_output_norm delta_layers delta_qk_activation
    delta_qk_norm delta_qk_norm_eps delta_beta delta_output_norm`),
  mixtral: [
    ...PRETRAINED,
    ...ROPE,
    ...words(`
    vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim hidden_act
    max_position_embeddings initializer_range rms_norm_eps sliding_window attention_dropout num_experts_per_tok num_local_experts
    output_router_logits router_aux_loss_coef router_jitter_noise num_experts norm_topk_prob`),
  ],
};

const MINIMAL: Readonly<Record<string, Readonly<Record<string, unknown>>>> = (() => {
  const llama = {
    model_type: 'llama',
    hidden_size: 32,
    num_attention_heads: 4,
    num_hidden_layers: 2,
    intermediate_size: 48,
    vocab_size: 64,
  };
  return {
    gpt2: { model_type: 'gpt2', n_embd: 32, n_head: 4, n_layer: 2, n_positions: 16, vocab_size: 64 },
    llama,
    llama_hybrid: { ...llama, model_type: 'llama_hybrid', linear_attention_layers: [0] },
    mixtral: { ...llama, model_type: 'mixtral', num_key_value_heads: 2, num_local_experts: 4 },
  };
})();
const parse = (type: string, fields: Readonly<Record<string, unknown>>): ModelConfig =>
  parseModelConfig(JSON.stringify({ ...MINIMAL[type], ...fields }));
const refusal = (run: () => unknown): ConfigError => {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('expected a ConfigError, but it was accepted');
};
const mathematics = ({ raw: _, warnings: __, ...rest }: ModelConfig): unknown => rest;

describe('the table', () => {
  it.each(MODEL_TYPES)('decides every field of the sources for %s', (type) => {
    const open = SOURCES[type].filter(
      (name) => !Object.hasOwn(rulesOf(type), name) && !Object.hasOwn(aliasesOf(type), name),
    );
    expect(open).toEqual([]);
  });

  it.each(MODEL_TYPES)('what it calls harmless leaves %s as it is, whatever the value', (type) => {
    const plain = mathematics(parse(type, {}));
    for (const [name, rule] of Object.entries(rulesOf(type))) {
      if (rule.kind !== 'harmless') continue;
      for (const value of [null, 1, 'x', true, [3], { a: 1 }])
        expect([name, mathematics(parse(type, { [name]: value }))]).toEqual([name, plain]);
    }
  });

  it.each(MODEL_TYPES)('a field that it does not know is refused by name for %s, and null is none', (type) => {
    for (const name of [
      'qk_norm',
      'final_logit_softcapping',
      'embedding_multiplier',
      'num_hidden_layer',
      'constructor',
      '__proto__',
    ]) {
      const text = `${JSON.stringify(MINIMAL[type]).slice(0, -1)},${JSON.stringify(name)}:0.5}`;
      const error = refusal(() => parseModelConfig(text));
      expect(error).toBeInstanceOf(UnsupportedError);
      if (name !== '__proto__')
        expect(error.message).toContain(`${name}: expected a field that is known in a config of ${type}, got 0.5`);
      expect(error.message).toContain('remove it from config.json');
      parseModelConfig(text.replace(':0.5}', ':null}'));
    }
  });
});

describe('what would change the network is refused by name', () => {
  it.each<[string, string, unknown]>([
    ['llama', 'residual', 'ladder'],
    ['gpt2', 'residual', 'parallel'],
    ['llama', 'delta_layers', [0]],
    ['llama_hybrid', 'delta_layers', [1]],
    ['mixtral', 'norm_topk_prob', false],
    ['mixtral', 'router_jitter_noise', 0.1],
    ['mixtral', 'output_router_logits', true],
    ['llama', 'partial_rotary_factor', 0.5],
    ['llama', 'rope_interleaved', true],
    ['llama', 'attention_bias', true],
    ['llama', 'mlp_bias', true],
    ['llama', 'hidden_act', 'gelu'],
    ['mixtral', 'hidden_act', 'relu'],
    ['gpt2', 'activation_function', 'gelu'],
    ['gpt2', 'activation_function', 'relu'],
    ['gpt2', 'activation_function', 'quick_gelu'],
    ['gpt2', 'scale_attn_weights', false],
    ['gpt2', 'scale_attn_weights', null],
    ['gpt2', 'scale_attn_by_inverse_layer_idx', true],
    ['gpt2', 'add_cross_attention', true],
    ['gpt2', 'is_encoder_decoder', true],
    ['gpt2', 'pruned_heads', { 0: [1] }],
    ['gpt2', 'torchscript', true],
    ['gpt2', 'tie_encoder_decoder', true],
    ['gpt2', 'n_special', 2],
    ['llama', 'quantization_config', { quant_method: 'gptq', bits: 4 }],
    ['llama', 'auto_map', { AutoModel: 'modeling_x.XModel' }],
    ['llama', 'layer_types', ['full_attention', 'sliding_attention']],
    ['llama', 'per_layer_config', { 0: { head_dim: 4 } }],
    ['llama', 'linear_attention_layers', [0]],
    ['llama_hybrid', 'linear_attention_feature_map', 'relu'],
    ['gpt2', 'rope_theta', 1e4],
    ['gpt2', 'num_local_experts', 4],
    ['llama', 'num_local_experts', 4],
    ['llama', 'router_aux_loss_coef', 0.01],
    ['llama', 'pretraining_tp', 0],
    ['llama', 'model_type', 'mistral'],
    ['llama', 'model_type', 'qwen2'],
    ['llama', 'model_type', 7],
  ])('%s: %s = %j', (type, name, value) => {
    const error = refusal(() => parse(type, { [name]: value }));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.where).toBe(name);
    expect(error.message).toContain('got ');
  });

  it.each<[string, Record<string, unknown>]>([
    ['rope_scaling.type', { rope_scaling: { type: 'linear', factor: 2 } }],
    ['rope_scaling.rope_type', { rope_scaling: { rope_type: 'llama3', factor: 8 } }],
    ['rope_scaling.type', { rope_scaling: { type: 'su', long_factor: [1] } }],
    ['rope_scaling.type', { rope_scaling: { rope_type: 'default', type: 'yarn' } }],
    ['rope_scaling.factor', { rope_scaling: { factor: 2 } }],
    ['rope_scaling', { rope_scaling: 'linear' }],
    ['rope_scaling', { rope_scaling: [2] }],
    ['rope_scaling.type', { rope_scaling: { type: 3 } }],
    ['rope_parameters.type', { rope_parameters: { type: 'linear', factor: 4, rope_theta: 1e4 } }],
    ['rope_parameters.rope_type', { rope_parameters: { rope_type: 'dynamic', factor: 4 } }],
    ['rope_parameters.full_attention', { rope_parameters: { full_attention: { rope_type: 'default' } } }],
    ['rope_parameters.partial_rotary_factor', { rope_parameters: { partial_rotary_factor: 0.5 } }],
    ['rope_parameters.rope_theta', { rope_parameters: { rope_theta: 5e5 }, rope_theta: 1e4 }],
    ['rope_scaling.rope_theta', { rope_scaling: { rope_theta: '1e4' } }],
    ['rope_theta', { rope_theta: 0 }],
    ['rope_theta', { rope_theta: -1e4 }],
    ['rope_theta', { rope_theta: 1e300 }],
    ['rope_theta', { rope_theta: [1e4] }],
  ])('rotary angles: %s in %j', (where, fields) => {
    for (const type of ['llama', 'llama_hybrid', 'mixtral'] as const)
      expect(refusal(() => parse(type, fields)).where).toBe(where);
  });
});

describe('what is known to be harmless is accepted', () => {
  it.each<[string, Record<string, unknown>]>([
    ['llama', { rope_scaling: null }],
    ['llama', { rope_scaling: {} }],
    ['llama', { rope_scaling: { type: 'default' } }],
    ['llama', { rope_scaling: { rope_type: 'default' } }],
    ['llama', { rope_parameters: null }],
    ['llama', { rope_parameters: {} }],
    ['llama', { rope_parameters: { type: 'default' } }],
    ['llama', { rope_parameters: { rope_type: 'default', rope_theta: 1e4 }, rope_theta: 1e4 }],
    ['llama', { rope_scaling: { type: 'default', factor: 1.0 } }],
    ['llama', { rope_scaling: { rope_type: 'default', factor: 8 } }],
    ['llama', { rope_parameters: { rope_type: 'default', factor: 8, attention_factor: 2, rope_theta: 1e4 } }],
    ['llama', { partial_rotary_factor: 1 }],
    ['llama', { pretraining_tp: 2 }],
    ['llama', { head_dim: 8 }],
    ['llama', { hidden_act: 'swish' }],
    ['llama', { layer_types: ['full_attention', 'full_attention'] }],
    ['llama', { linear_attention_layers: [], delta_layers: [], residual: null }],
    ['llama', { max_sequence_length: 2048 }],
    ['mixtral', { norm_topk_prob: true }],
    ['mixtral', { router_jitter_noise: 0 }],
    ['mixtral', { router_aux_loss_coef: 0.02 }],
    ['mixtral', { output_router_logits: true, router_aux_loss_coef: 0 }],
    ['mixtral', { num_experts: 4 }],
    ['gpt2', { activation_function: 'gelu_fast' }],
    ['gpt2', { activation_function: 'gelu_pytorch_tanh' }],
    ['gpt2', { n_inner: 128 }],
    ['gpt2', { reorder_and_upcast_attn: true }],
    ['gpt2', { pruned_heads: {} }],
    ['gpt2', { n_ctx: 16 }],
    ['gpt2', { hidden_size: 32 }],
  ])('%s: %j', (type, fields) => {
    expect(mathematics(parse(type, fields))).toEqual(mathematics(parse(type, {})));
  });
});

describe('other spellings', () => {
  it("GPT-2's aliases are the sizes", () => {
    const config = parseModelConfig(
      JSON.stringify({
        model_type: 'gpt2',
        hidden_size: 32,
        num_attention_heads: 4,
        num_hidden_layers: 3,
        max_position_embeddings: 24,
        vocab_size: 64,
      }),
    );
    expect(config).toMatchObject({ hidden: 32, heads: 4, layers: 3, maxPositions: 24, mlp: 128 });
    expect(parseModelConfig('{"model_type":"gpt2","n_ctx":48}')).toMatchObject({ maxPositions: 48 });
    expect(
      parseModelConfig(JSON.stringify({ ...MINIMAL.mixtral, num_local_experts: null, num_experts: 6 })),
    ).toMatchObject({ experts: 6 });
  });

  it.each<[string, string, Record<string, unknown>, string]>([
    ['gpt2', 'hidden_size', { hidden_size: 64 }, 'is another name of n_embd, but is 64 where n_embd is 32'],
    ['gpt2', 'n_ctx', { n_ctx: 1024 }, 'is another name of n_positions, but is 1024 where n_positions is 16'],
    [
      'gpt2',
      'n_ctx',
      { n_positions: null, max_position_embeddings: 8, n_ctx: 9 },
      'where max_position_embeddings is 8',
    ],
    [
      'gpt2',
      'hidden_size',
      { n_embd: null, hidden_size: '32' },
      'expected a whole number from 1 to 16777216, got "32"',
    ],
    ['mixtral', 'num_experts', { num_experts: 8 }, 'but is 8 where num_local_experts is 4'],
    ['llama', 'max_sequence_length', { max_sequence_length: 64, max_position_embeddings: 32 }, 'but is 64'],
  ])('%s: %s of %j is refused', (type, where, fields, message) => {
    const error = refusal(() => parse(type, fields));
    expect(error.where).toBe(where);
    expect(error.message).toContain(message);
  });

  it('null is no value in any spelling; null kv heads mean one per head', () => {
    expect(mathematics(parse('gpt2', { hidden_size: null, n_ctx: null }))).toEqual(mathematics(parse('gpt2', {})));
    expect(parse('mixtral', { num_key_value_heads: null })).toMatchObject({ kvHeads: 4 });
    expect(refusal(() => parse('gpt2', { tie_word_embeddings: null })).message).toContain(
      'expected true or false, got null',
    );
  });
});

describe('values of every read field', () => {
  const NUMBERS = [
    'n_embd',
    'n_head',
    'n_layer',
    'n_positions',
    'n_inner',
    'vocab_size',
    'layer_norm_epsilon',
    'initializer_range',
    'resid_pdrop',
    'hidden_size',
    'num_hidden_layers',
    'num_attention_heads',
    'num_key_value_heads',
    'head_dim',
    'intermediate_size',
    'max_position_embeddings',
    'rms_norm_eps',
    'rope_theta',
    'sliding_window',
    'attention_dropout',
    'num_local_experts',
    'num_experts_per_tok',
    'router_aux_loss_coef',
  ];

  it.each(MODEL_TYPES)('of %s: strings, lists, booleans, negatives and giants are refused by name', (type) => {
    for (const name of NUMBERS.filter((field) => rulesOf(type)[field]?.kind === 'read')) {
      for (const value of ['4', [4], {}, true, -1, -0.5, 1e9, 1e308]) {
        if (name === 'router_aux_loss_coef' && typeof value === 'number' && value > 0) continue;
        if (name === 'rope_theta' && value === 1e9) continue;
        expect([name, value, refusal(() => parse(type, { [name]: value })).where]).toEqual([name, value, name]);
      }
    }
  });

  it('numbers that JSON does not have are no numbers', () => {
    for (const value of ['NaN', 'Infinity', '1e999'])
      expect(() => parseModelConfig(`{"model_type":"gpt2","n_embd":${value}}`)).toThrow(
        'config.json: JSON at character',
      );
  });
});

describe('configs as they are published, with smaller sizes', () => {
  const GPT2 = {
    activation_function: 'gelu_new',
    architectures: ['GPT2LMHeadModel'],
    attn_pdrop: 0.1,
    bos_token_id: 50256,
    embd_pdrop: 0.1,
    eos_token_id: 50256,
    initializer_range: 0.02,
    layer_norm_epsilon: 1e-5,
    model_type: 'gpt2',
    n_ctx: 1024,
    n_embd: 768,
    n_head: 12,
    n_layer: 2,
    n_positions: 1024,
    resid_pdrop: 0.1,
    summary_activation: null,
    summary_first_dropout: 0.1,
    summary_proj_to_labels: true,
    summary_type: 'cls_index',
    summary_use_proj: true,
    task_specific_params: { 'text-generation': { do_sample: true, max_length: 50 } },
    vocab_size: 50257,
  };
  const TINY_LLAMA = {
    _name_or_path: 'x',
    architectures: ['LlamaForCausalLM'],
    attention_bias: false,
    attention_dropout: 0.0,
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_act: 'silu',
    hidden_size: 256,
    initializer_range: 0.02,
    intermediate_size: 704,
    max_position_embeddings: 2048,
    model_type: 'llama',
    num_attention_heads: 32,
    num_hidden_layers: 2,
    num_key_value_heads: 4,
    pretraining_tp: 1,
    rms_norm_eps: 1e-5,
    rope_scaling: null,
    rope_theta: 10000.0,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    transformers_version: '4.35.0',
    use_cache: true,
    vocab_size: 32000,
  };
  const LLAMA_3 = {
    ...TINY_LLAMA,
    bos_token_id: 128000,
    eos_token_id: [128001, 128008, 128009],
    head_dim: 64,
    mlp_bias: false,
    rope_theta: 500000.0,
    tie_word_embeddings: true,
    max_position_embeddings: 131072,
    rope_scaling: {
      factor: 32.0,
      high_freq_factor: 4.0,
      low_freq_factor: 1.0,
      original_max_position_embeddings: 8192,
      rope_type: 'llama3',
    },
  };
  const SMOL = {
    ...TINY_LLAMA,
    is_llama_config: true,
    pad_token_id: 2,
    rope_interleaved: false,
    rope_theta: 100000,
    tie_word_embeddings: true,
    'transformers.js_config': { kv_cache_dtype: { q4f16: 'float16' } },
  };
  const MIXTRAL = {
    architectures: ['MixtralForCausalLM'],
    attention_dropout: 0.0,
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_act: 'silu',
    hidden_size: 256,
    initializer_range: 0.02,
    intermediate_size: 896,
    max_position_embeddings: 32768,
    model_type: 'mixtral',
    num_attention_heads: 32,
    num_experts_per_tok: 2,
    num_hidden_layers: 2,
    num_key_value_heads: 8,
    num_local_experts: 8,
    output_router_logits: false,
    rms_norm_eps: 1e-5,
    rope_theta: 1000000.0,
    router_aux_loss_coef: 0.02,
    sliding_window: null,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    transformers_version: '4.36.0.dev0',
    use_cache: true,
    vocab_size: 32000,
  };
  const read = (config: object): ModelConfig => parseModelConfig(JSON.stringify(config));

  it('gpt2 trains, and says that its dropout is not applied', () => {
    expect(read(GPT2)).toMatchObject({
      hidden: 768,
      heads: 12,
      warnings: [expect.stringContaining('resid_pdrop 0.1, embd_pdrop 0.1, attn_pdrop 0.1')],
    });
  });

  it('TinyLlama, SmolLM and Mixtral train', () => {
    expect(read(TINY_LLAMA)).toMatchObject({ kvHeads: 4, warnings: [] });
    expect(read(SMOL)).toMatchObject({ ropeTheta: 1e5, tied: true });
    expect(read(MIXTRAL)).toMatchObject({ experts: 8, ropeTheta: 1e6, window: Infinity, warnings: [] });
  });

  it('Llama 3 before 3.1 trains; its scaled angles are refused by name', () => {
    expect(read({ ...LLAMA_3, rope_scaling: null })).toMatchObject({ headDim: 64, ropeTheta: 5e5 });
    expect(refusal(() => read(LLAMA_3)).message).toContain(
      'rope_scaling.rope_type: only "default" is supported, got "llama3"',
    );
    // As newer versions write it.
    const { rope_scaling: scaling, rope_theta: theta, ...rest } = LLAMA_3;
    expect(
      refusal(() => read({ ...rest, dtype: 'bfloat16', rope_parameters: { ...scaling, rope_theta: theta } })).where,
    ).toBe('rope_parameters.rope_type');
    expect(read({ ...rest, rope_parameters: { rope_type: 'default', rope_theta: theta } })).toMatchObject({
      ropeTheta: 5e5,
    });
  });
});

describe('the configs of golden models, of those too that do not train here yet', () => {
  const root = new URL('../golden/configs/', import.meta.url);
  const REFUSED: Readonly<Record<string, string>> = {
    'ladder-tiny': 'residual',
    'deltanet-tiny': 'delta_layers',
    'mixtral-aux-tiny': 'output_router_logits',
    'mixtral-top1-tiny': 'norm_topk_prob',
    'llama3-gen-tiny': 'rope_scaling.rope_type',
  };

  it.each(readdirSync(root).map((file) => file.replace('.json', '')))(
    '%s is read, or refused by the name of what it needs',
    (name) => {
      const run = (): ModelConfig => parseModelConfig(readFileSync(new URL(`${name}.json`, root), 'utf8'));
      if (REFUSED[name] === undefined) expect(run()).toMatchObject({ warnings: [] });
      else expect(refusal(run).where).toBe(REFUSED[name]);
    },
  );
});
