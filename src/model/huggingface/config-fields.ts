// Every field that a config.json of our families may hold, and what becomes of it: read (config.ts computes with it and
// checks its value), harmless (the network and its training are the same whatever it says), or only harmless with some
// values, others being refused by name. A field that stands nowhere here is refused too, because it might change the
// mathematics; null counts as absent.
// Sources: GPT2Config, LlamaConfig, MixtralConfig, PretrainedConfig and GenerationConfig of Hugging Face transformers
// 4.20 to 5, with their attribute_map, and older spellings that files still carry.

import { UnsupportedError } from '../../base/errors.ts';
import { isArray, isObject, quote, toPlain, type JsonObject, type JsonValue } from '../../base/json.ts';

export const MODEL_TYPES = ['gpt2', 'llama', 'llama_hybrid', 'mixtral'] as const;
export type ModelType = (typeof MODEL_TYPES)[number];

export type FieldRule =
  | { readonly kind: 'read' }
  | { readonly kind: 'harmless'; readonly why: string }
  | {
      readonly kind: 'only';
      readonly expected: string;
      readonly changes: string;
      holds(value: JsonValue): boolean;
      readonly noNull?: true;
    };
type Only = FieldRule & { readonly kind: 'only' };
type Rules = Readonly<Record<string, FieldRule>>;

const READ: FieldRule = { kind: 'read' };
const each = (names: string, rule: FieldRule): Rules =>
  Object.fromEntries(
    names
      .split(/\s+/)
      .filter(Boolean)
      .map((name) => [name, rule]),
  );
const read = (names: string): Rules => each(names, READ);
const harmless = (why: string, names: string): Rules => each(names, { kind: 'harmless', why });
const only = (expected: string, holds: (value: JsonValue) => boolean, changes: string): Only => ({
  kind: 'only',
  expected,
  holds,
  changes,
});
const exactly = (value: boolean | number | string, changes: string): Only =>
  only(JSON.stringify(value), (got) => got === value, changes);
/** No value but null. */
const refused = (changes: string): Only => only('null', () => false, changes);

const emptyList = (value: JsonValue): boolean => isArray(value) && value.length === 0;
const empty = (value: JsonValue): boolean => emptyList(value) || (isObject(value) && value.size === 0);
const wholeAndPositive = (value: JsonValue): boolean => Number.isSafeInteger(value) && (value as number) >= 1;

const GENERATION = harmless(
  'decoding options of generate(), which training does not use',
  `
  max_length min_length max_new_tokens min_new_tokens do_sample early_stopping num_beams num_beam_groups
  diversity_penalty
  temperature top_k top_p min_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
  encoder_no_repeat_ngram_size
  encoder_repetition_penalty bad_words_ids num_return_sequences output_scores return_dict_in_generate
  forced_bos_token_id
  forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
  epsilon_cutoff
  eta_cutoff penalty_alpha renormalize_logits max_time num_assistant_tokens num_assistant_tokens_schedule
  assistant_confidence_threshold assistant_lookbehind target_lookbehind cache_implementation generation_config`,
);

const COMMON: Rules = {
  ...GENERATION,
  ...read('model_type vocab_size initializer_range tie_word_embeddings'),
  ...harmless(
    'names a class, a version or a place',
    `
    architectures transformers_version name_or_path _name_or_path _commit_hash transformers.js_config unsloth_fixed
    unsloth_version
    finetuning_task`,
  ),
  ...harmless(
    'how numbers are stored; training here is in f32',
    'torch_dtype dtype use_bfloat16 _pre_quantization_dtype',
  ),
  ...harmless(
    'what the model hands out besides its logits',
    `
    output_hidden_states output_attentions return_dict use_return_dict use_cache`,
  ),
  ...harmless(
    'how it is computed, with the same result',
    `
    attn_implementation _attn_implementation _attn_implementation_autoset _attn_implementation_internal
    _flash_attn_2_enabled
    experts_implementation _experts_implementation _experts_implementation_internal use_flash_attention_2
    gradient_checkpointing
    chunk_size_feed_forward tf_legacy_loss`,
  ),
  ...harmless('a decoder-only network is one either way', 'is_decoder'),
  ...harmless('belongs to classifiers', 'id2label label2id num_labels _num_labels problem_type task_specific_params'),
  // A padding id also freezes that row of PyTorch's embedding; batches here have no padding.
  ...harmless(
    'belongs to the tokenizer',
    `
    tokenizer_class prefix bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id mask_token_id unk_token_id
    decoder_start_token_id`,
  ),
  is_encoder_decoder: exactly(false, 'an encoder is another network'),
  add_cross_attention: exactly(false, 'cross-attention layers are not implemented'),
  cross_attention_hidden_size: refused('cross-attention layers are not implemented'),
  tie_encoder_decoder: exactly(false, 'an encoder is another network'),
  pruned_heads: only('{}', empty, 'pruned heads are not implemented'),
  torchscript: exactly(false, 'it unties the embedding from the output projection'),
  quantization_config: refused('quantized weights are not implemented; convert the model to float32 or bfloat16 first'),
  auto_map: refused('it names code of its own, which may compute something else'),
  per_layer_config: only('{}', empty, 'layers that differ from each other are not implemented'),
  layer_types: only(
    'a list of "full_attention"',
    (value) => isArray(value) && value.every((type) => type === 'full_attention'),
    'other kinds of layers are not implemented',
  ),
  residual: refused('residual streams other than the ordinary one are not implemented'),
};

const GPT2: Rules = {
  ...COMMON,
  ...read(
    'n_embd n_head n_layer n_positions n_inner activation_function layer_norm_epsilon resid_pdrop embd_pdrop attn_pdrop',
  ),
  ...harmless(
    'belongs to the head of GPT2DoubleHeadsModel',
    `
    summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
    predict_special_tokens`,
  ),
  ...harmless('changes only the order of rounding in half precision', 'reorder_and_upcast_attn'),
  // On by default, and null is falsy in Python: not the same as absent.
  scale_attn_weights: { ...exactly(true, 'attention without 1/sqrt(head size) is not implemented'), noNull: true },
  scale_attn_by_inverse_layer_idx: exactly(false, 'attention scaled by the layer is not implemented'),
  n_special: exactly(0, 'extra embeddings are not implemented'),
};

/** What Llama and Mixtral share. */
const ROTARY: Rules = {
  ...COMMON,
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

const LLAMA_HYBRID: Rules = {
  ...ROTARY,
  ...read('linear_attention_layers'),
  ...harmless(
    'read only with delta_layers',
    'delta_qk_activation delta_qk_norm delta_qk_norm_eps delta_beta delta_output_norm',
  ),
  linear_attention_feature_map: exactly('elu_plus_one', 'other feature maps are not implemented'),
  linear_attention_output_norm: exactly('rms_per_head', 'other norms are not implemented'),
  delta_layers: only('[]', emptyList, 'layers with the delta rule are not implemented'),
};

const LLAMA: Rules = {
  ...LLAMA_HYBRID,
  linear_attention_layers: only(
    '[]',
    emptyList,
    'only llama_hybrid has linear-attention layers; set model_type to llama_hybrid',
  ),
};

const MIXTRAL: Rules = {
  ...ROTARY,
  ...read('num_local_experts num_experts_per_tok output_router_logits router_aux_loss_coef'),
  router_jitter_noise: exactly(0, 'noise on the input of the router is not implemented'),
  norm_topk_prob: exactly(true, 'gates that are not divided by their sum are not implemented'),
};

export const FIELD_RULES: Readonly<Record<ModelType, Rules>> = {
  gpt2: GPT2,
  llama: LLAMA,
  llama_hybrid: LLAMA_HYBRID,
  mixtral: MIXTRAL,
};

/**
 * Other spellings of a field: attribute_map of Hugging Face's classes, and what older files say. Two that differ are
 * refused.
 */
export const FIELD_ALIASES: Readonly<Record<ModelType, Readonly<Record<string, string>>>> = {
  gpt2: {
    hidden_size: 'n_embd',
    num_attention_heads: 'n_head',
    num_hidden_layers: 'n_layer',
    max_position_embeddings: 'n_positions',
    n_ctx: 'n_positions',
    vocab_size_or_config_json_file: 'vocab_size',
  },
  llama: { max_sequence_length: 'max_position_embeddings' },
  llama_hybrid: { max_sequence_length: 'max_position_embeddings' },
  mixtral: { num_experts: 'num_local_experts' },
};

/**
 * UnsupportedError for the first field whose value changes the network in a way that is not implemented, or that nobody
 * here knows.
 */
export function checkFields(raw: JsonObject, type: ModelType): void {
  const rules = FIELD_RULES[type];
  const unknown: string[] = [];
  for (const [name, value] of raw) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (value === null && !(rule?.kind === 'only' && rule.noNull)) continue;
    if (rule?.kind === 'only' && !rule.holds(value)) {
      throw new UnsupportedError(name, `only ${rule.expected} is supported, got ${shorten(value)}: ${rule.changes}`);
    }
    if (!rule && !Object.hasOwn(FIELD_ALIASES[type], name)) unknown.push(name);
  }
  const [first, ...others] = unknown;
  if (first === undefined) return;
  const listed = [...others.slice(0, 5).map((name) => quote(name)), ...(others.length > 5 ? ['...'] : [])];
  const more = others.length ? ` (also unknown: ${listed.join(', ')})` : '';
  throw new UnsupportedError(
    first.length > 60 ? quote(first) : first,
    `expected a field that is known in a config of ${type}, got ${shorten(raw.get(first)!)}, which may change the network${more}; ` +
      'if it does not, remove it from config.json',
  );
}

/** A value for an error: JSON, at most 60 characters. */
export function shorten(value: JsonValue): string {
  const text = JSON.stringify(toPlain(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
