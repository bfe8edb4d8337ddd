// Hugging Face config.json of a gpt2, llama or mixtral (and llama_hybrid: Llama with some linear-attention layers) as one ModelConfig.
// A field that would change the mathematics and that we do not compute is a ConfigError; dropout and the router's auxiliary loss are
// only warnings, because the network is the same without them. `raw` keeps the whole file for writing it back.

import { ConfigError } from '../base/errors.ts';
import { isArray, isObject, parseJson, toPlain, type JsonObject, type JsonValue } from '../base/json.ts';

interface Common {
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

export interface Gpt2Config extends Common { readonly family: 'gpt2' }
export interface LlamaConfig extends Common {
  readonly family: 'llama';
  readonly ropeTheta: number;
  /** Layers with causal linear attention instead of softmax attention (llama_hybrid); empty in a plain Llama. */
  readonly linearAttentionLayers: readonly number[];
}
export interface MixtralConfig extends Common {
  readonly family: 'mixtral';
  readonly ropeTheta: number;
  readonly experts: number;
  readonly expertsPerToken: number;
}
export type ModelConfig = Gpt2Config | LlamaConfig | MixtralConfig;

const MAX_LAYERS = 1024;
const MAX_EXPERTS = 1024;

/** The config in the text of a config.json. */
export function parseModelConfig(text: string): ModelConfig {
  const json = parseJson(text, { format: 'config.json', maxDepth: 8 });
  if (!isObject(json)) throw new ConfigError('config.json', 'expected an object');
  return readModelConfig(json);
}

export function readModelConfig(raw: JsonObject): ModelConfig {
  const fields = new Fields(raw);
  const type = fields.string('model_type');
  if (type === 'gpt2') return gpt2(fields);
  if (type === 'llama' || type === 'llama_hybrid') return llama(fields, type === 'llama_hybrid');
  if (type === 'mixtral') return mixtral(fields);
  throw new ConfigError('model_type', `expected gpt2, llama, llama_hybrid or mixtral, got ${JSON.stringify(type)}`);
}

/** The text of a config.json: the original fields, in order. */
export function formatModelConfig(config: ModelConfig): string {
  return `${JSON.stringify(toPlain(config.raw), null, 2)}\n`;
}

function gpt2(f: Fields): Gpt2Config {
  f.oneOf('activation_function', ['gelu_new', 'gelu_pytorch_tanh'], 'gelu_new');
  f.only('scale_attn_weights', true);
  f.only('scale_attn_by_inverse_layer_idx', false);
  f.only('add_cross_attention', false);
  f.ignored(['resid_pdrop', 'embd_pdrop', 'attn_pdrop'], 'dropout is not applied');
  const hidden = f.natural('n_embd', 768);
  const heads = f.natural('n_head', 12);
  return {
    family: 'gpt2', layers: f.natural('n_layer', 12, MAX_LAYERS), hidden, heads, kvHeads: heads, headDim: f.divide('n_embd', hidden, 'n_head', heads),
    mlp: f.natural('n_inner', 4 * hidden), vocab: f.natural('vocab_size', 50257), maxPositions: f.natural('n_positions', 1024),
    normEps: f.positive('layer_norm_epsilon', 1e-5), tied: f.boolean('tie_word_embeddings', true), ...f.rest(),
  };
}

/** The fields that Llama and Mixtral share. */
function rotary(f: Fields, defaults: { kvHeads?: number; eps: number; positions: number }): Omit<Common, 'tied' | 'initStd' | 'raw' | 'warnings'> & { readonly ropeTheta: number } {
  f.oneOf('hidden_act', ['silu', 'swish'], 'silu');
  if (f.has('rope_scaling')) throw new ConfigError('rope_scaling', 'scaled rotary angles are not supported; expected null');
  f.only('attention_bias', false);
  f.only('mlp_bias', false);
  f.ignored(['attention_dropout'], 'dropout is not applied');
  const hidden = f.natural('hidden_size');
  const heads = f.natural('num_attention_heads');
  const kvHeads = f.natural('num_key_value_heads', defaults.kvHeads ?? heads);
  if (heads % kvHeads) throw new ConfigError('num_key_value_heads', `expected a divisor of num_attention_heads ${heads}, got ${kvHeads}`);
  const headDim = f.has('head_dim') ? f.natural('head_dim') : f.divide('hidden_size', hidden, 'num_attention_heads', heads);
  if (headDim % 2) throw new ConfigError('head_dim', `rotary angles turn pairs, so expected an even number, got ${headDim}`);
  const maxPositions = f.natural('max_position_embeddings', defaults.positions);
  const window = f.has('sliding_window') && f.raw.get('use_sliding_window') !== false ? f.natural('sliding_window') : Infinity;
  if (window < maxPositions) throw new ConfigError('sliding_window', `windows shorter than the context of ${maxPositions} are not supported, got ${window}; set it to null`);
  return {
    layers: f.natural('num_hidden_layers', undefined, MAX_LAYERS), hidden, heads, kvHeads, headDim, mlp: f.natural('intermediate_size'), vocab: f.natural('vocab_size'),
    maxPositions, normEps: f.positive('rms_norm_eps', defaults.eps), ropeTheta: ropeTheta(f),
  };
}

/** `rope_theta`, or where newer files keep it: `rope_parameters.rope_theta`, of rope_type default. */
function ropeTheta(f: Fields): number {
  const fallback = f.raw.get('model_type') === 'mixtral' ? 1e6 : 1e4;
  const parameters = f.raw.get('rope_parameters');
  if (!isObject(parameters)) return f.positive('rope_theta', fallback);
  const inner = new Fields(parameters);
  inner.oneOf('rope_type', ['default'], 'default');
  return inner.positive('rope_theta', f.positive('rope_theta', fallback));
}

function llama(f: Fields, hybrid: boolean): LlamaConfig {
  const common = rotary(f, { eps: 1e-6, positions: 2048 });
  const linear = f.raw.get('linear_attention_layers');
  let linearAttentionLayers: readonly number[] = [];
  if (hybrid) {
    f.only('linear_attention_feature_map', 'elu_plus_one');
    f.only('linear_attention_output_norm', 'rms_per_head');
    if (!isArray(linear) || !linear.every((i): i is number => Number.isInteger(i) && (i as number) >= 0 && (i as number) < common.layers)) {
      throw new ConfigError('linear_attention_layers', `expected a list of layers from 0 to ${common.layers - 1}`);
    }
    linearAttentionLayers = [...new Set(linear)].sort((a, b) => a - b);
  } else if (linear !== undefined) {
    throw new ConfigError('linear_attention_layers', 'only llama_hybrid has linear-attention layers; set model_type to llama_hybrid');
  }
  return { family: 'llama', ...common, linearAttentionLayers, tied: f.boolean('tie_word_embeddings', false), ...f.rest() };
}

function mixtral(f: Fields): MixtralConfig {
  const common = rotary(f, { kvHeads: 8, eps: 1e-5, positions: 131072 });
  f.ignored(['router_jitter_noise'], 'router jitter is not applied');
  if (f.boolean('output_router_logits', false)) f.warn('output_router_logits: the router has no auxiliary loss here');
  const experts = f.natural('num_local_experts', 8, MAX_EXPERTS);
  const expertsPerToken = f.natural('num_experts_per_tok', 2);
  if (expertsPerToken > experts) throw new ConfigError('num_experts_per_tok', `expected at most num_local_experts ${experts}, got ${expertsPerToken}`);
  return { family: 'mixtral', ...common, experts, expertsPerToken, tied: f.boolean('tie_word_embeddings', false), ...f.rest() };
}

/** Typed access to the fields of a config; null counts as absent, as in Hugging Face files. */
class Fields {
  readonly raw: JsonObject;
  readonly #warnings: string[] = [];

  constructor(raw: JsonObject) { this.raw = raw; }

  has(name: string): boolean { return (this.raw.get(name) ?? null) !== null; }

  #get<T extends JsonValue>(name: string, what: string, is: (value: JsonValue) => value is T, fallback: T | undefined): T {
    const value = this.raw.get(name) ?? null;
    if (value === null) {
      if (fallback !== undefined) return fallback;
      throw new ConfigError(name, `expected ${what}, but the field is missing`);
    }
    if (!is(value)) throw new ConfigError(name, `expected ${what}, got ${JSON.stringify(toPlain(value))?.slice(0, 60)}`);
    return value;
  }

  string(name: string, fallback?: string): string {
    return this.#get(name, 'a string', (v) => typeof v === 'string', fallback);
  }

  boolean(name: string, fallback: boolean): boolean {
    return this.#get(name, 'true or false', (v) => typeof v === 'boolean', fallback);
  }

  /** 1 to `most`; by default 2^24, more than any vocabulary or width. A bound, because a file of 100 bytes must not make us list 10^9 weights. */
  natural(name: string, fallback?: number, most = 1 << 24): number {
    return this.#get(name, `a whole number from 1 to ${most}`, (v): v is number => Number.isInteger(v) && (v as number) >= 1 && (v as number) <= most, fallback);
  }

  positive(name: string, fallback: number): number {
    return this.#get(name, 'a number above 0', (v): v is number => typeof v === 'number' && v > 0, fallback);
  }

  oneOf(name: string, allowed: readonly string[], fallback: string): void {
    const value = this.string(name, fallback);
    if (!allowed.includes(value)) throw new ConfigError(name, `expected ${allowed.join(' or ')}, got ${JSON.stringify(value)}`);
  }

  only(name: string, value: boolean | string): void {
    const got = this.raw.get(name) ?? value;
    if (got !== value) throw new ConfigError(name, `only ${JSON.stringify(value)} is supported, got ${JSON.stringify(toPlain(got))?.slice(0, 60)}`);
  }

  ignored(names: readonly string[], why: string): void {
    for (const name of names) {
      const value = this.raw.get(name);
      if (typeof value === 'number' && value !== 0) this.warn(`${name} ${value}: ${why}`);
    }
  }

  warn(sentence: string): void { this.#warnings.push(sentence); }

  divide(whole: string, a: number, part: string, b: number): number {
    if (a % b) throw new ConfigError(whole, `expected a multiple of ${part} ${b}, got ${a}`);
    return a / b;
  }

  rest(): Pick<Common, 'initStd' | 'raw' | 'warnings'> {
    return { initStd: this.positive('initializer_range', 0.02), raw: this.raw, warnings: this.#warnings };
  }
}
