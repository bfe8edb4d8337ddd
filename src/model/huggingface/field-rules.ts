// What becomes of a field of config.json: it is read (the family computes with it and checks its value), harmless (the
// network and its training are the same whatever it says), or only harmless with some values, others being refused by
// name. A field that no rule of its family decides is refused too, because it might change the mathematics; null counts
// as absent. Each family lists its own rules; those that all share are here.
// Sources: PretrainedConfig and GenerationConfig of Hugging Face transformers 4.20 to 5, and older spellings that files
// still carry.

import { UnsupportedError } from '../../base/errors.ts';
import { isArray, isObject, quote, toPlain, type JsonObject, type JsonValue } from '../../base/json.ts';

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
export type FieldRules = Readonly<Record<string, FieldRule>>;

const READ: FieldRule = { kind: 'read' };
const each = (names: string, rule: FieldRule): FieldRules =>
  Object.fromEntries(
    names
      .split(/\s+/)
      .filter(Boolean)
      .map((name) => [name, rule]),
  );
/** Rules of fields by name, for names between white space. */
export const read = (names: string): FieldRules => each(names, READ);
export const harmless = (why: string, names: string): FieldRules => each(names, { kind: 'harmless', why });
export const only = (expected: string, holds: (value: JsonValue) => boolean, changes: string): Only => ({
  kind: 'only',
  expected,
  holds,
  changes,
});
/** Harmless with this value; `changes` says what another would ask for. */
export const exactly = (value: boolean | number | string, changes: string): Only =>
  only(JSON.stringify(value), (got) => got === value, changes);
/** No value but null. */
export const refused = (changes: string): Only => only('null', () => false, changes);

export const emptyList = (value: JsonValue): boolean => isArray(value) && value.length === 0;
const empty = (value: JsonValue): boolean => emptyList(value) || (isObject(value) && value.size === 0);

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

/** Fields that any family may hold. */
export const COMMON_FIELDS: FieldRules = {
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

/** Of one `model_type`. */
export interface ConfigFields {
  readonly fields: FieldRules;
  /** Other spellings of a field, and what it is called here: two that differ are refused. */
  readonly aliases: Readonly<Record<string, string>>;
}

/**
 * UnsupportedError for the first field whose value changes the network in a way that is not implemented, or that nobody
 * here knows.
 */
export function checkFields(raw: JsonObject, type: string, { fields: rules, aliases }: ConfigFields): void {
  const unknown: string[] = [];
  for (const [name, value] of raw) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (value === null && !(rule?.kind === 'only' && rule.noNull)) continue;
    if (rule?.kind === 'only' && !rule.holds(value)) {
      throw new UnsupportedError(name, `only ${rule.expected} is supported, got ${shorten(value)}: ${rule.changes}`);
    }
    if (!rule && !Object.hasOwn(aliases, name)) unknown.push(name);
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
