// Hugging Face config.json of a gpt2, llama or mixtral (and llama_hybrid: Llama with some linear-attention layers) as
// one ModelConfig. Which fields may stand there, and with which values, says huggingface/config-fields.ts: what would
// change the mathematics and is not implemented is an UnsupportedError. Dropout alone is a warning, because every GPT-2
// names it and the network is the same without it. `raw` keeps the whole file for writing it back.

import { ConfigError, UnsupportedError } from '../base/errors.ts';
import { isArray, isObject, parseJson, toPlain, type JsonObject, type JsonValue } from '../base/json.ts';
import { checkFields, FIELD_ALIASES, MODEL_TYPES, shorten, type ModelType } from './huggingface/config-fields.ts';
import { ropeTheta } from './huggingface/rope-fields.ts';

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

export interface Gpt2Config extends Common {
  readonly family: 'gpt2';
}
export interface LlamaConfig extends Common {
  readonly family: 'llama';
  readonly ropeTheta: number;
  /** Tokens that attention looks back over; Infinity without a window. A run's context must not be longer. */
  readonly window: number;
  /** Layers with causal linear attention instead of softmax attention (llama_hybrid); empty in a plain Llama. */
  readonly linearAttentionLayers: readonly number[];
}
export interface MixtralConfig extends Common {
  readonly family: 'mixtral';
  readonly ropeTheta: number;
  readonly window: number;
  readonly experts: number;
  readonly expertsPerToken: number;
}
export type ModelConfig = Gpt2Config | LlamaConfig | MixtralConfig;

const MAX_LAYERS = 1024;
const MAX_EXPERTS = 1024;
/** One formula up to rounding: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Plain `gelu` is another, with erf. */
const TANH_GELU = ['gelu_new', 'gelu_pytorch_tanh', 'gelu_fast', 'gelu_accurate', 'gelu_python_tanh'];

/** The config in the text of a config.json. */
export function parseModelConfig(text: string): ModelConfig {
  const json = parseJson(text, { format: 'config.json', maxDepth: 8 });
  if (!isObject(json)) throw new ConfigError('config.json', 'expected an object');
  return readModelConfig(json);
}

export function readModelConfig(raw: JsonObject): ModelConfig {
  const type = raw.get('model_type') ?? null;
  if (type === null) throw new ConfigError('model_type', `expected ${choices(MODEL_TYPES)}, but the field is missing`);
  if (!MODEL_TYPES.some((known) => known === type)) {
    throw new UnsupportedError('model_type', `expected ${choices(MODEL_TYPES)}, got ${shorten(type)}`);
  }
  checkFields(raw, type as ModelType);
  const fields = new Fields(raw, FIELD_ALIASES[type as ModelType]);
  if (type === 'gpt2') return gpt2(fields);
  return type === 'mixtral' ? mixtral(fields) : llama(fields, type === 'llama_hybrid');
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

function gpt2(f: Fields): Gpt2Config {
  f.oneOf('activation_function', TANH_GELU, 'gelu_new');
  f.dropout(['resid_pdrop', 'embd_pdrop', 'attn_pdrop']);
  const hidden = f.natural('n_embd', 768);
  const heads = f.natural('n_head', 12);
  return {
    family: 'gpt2',
    layers: f.natural('n_layer', 12, MAX_LAYERS),
    hidden,
    heads,
    kvHeads: heads,
    headDim: f.divide('n_embd', hidden, 'n_head', heads),
    mlp: f.natural('n_inner', 4 * hidden),
    vocab: f.natural('vocab_size', 50257),
    maxPositions: f.natural('n_positions', 1024),
    normEps: f.number('layer_norm_epsilon', 1e-5, EPS),
    tied: f.boolean('tie_word_embeddings', true),
    ...f.rest(),
  };
}

type Rotary = Omit<Common, 'tied' | 'initStd' | 'raw' | 'warnings'> & {
  readonly ropeTheta: number;
  readonly window: number;
};

/** The fields that Llama and Mixtral share. */
function rotary(f: Fields, defaults: { kvHeads?: number; eps: number; positions: number; theta: number }): Rotary {
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

function llama(f: Fields, hybrid: boolean): LlamaConfig {
  const common = rotary(f, { eps: 1e-6, positions: 2048, theta: 1e4 });
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

function mixtral(f: Fields): MixtralConfig {
  const common = rotary(f, { kvHeads: 8, eps: 1e-5, positions: 131072, theta: 1e6 });
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

interface Bounds {
  readonly what: string;
  readonly least: number;
  readonly most: number;
}
/** Kernels add it in f32, where less than this is 0 and no longer guards the division. */
const EPS: Bounds = { what: 'a number from 1e-30 to 1', least: 1e-30, most: 1 };

/**
 * Typed access to the fields of a config, under any of their spellings; null counts as absent, as in Hugging Face
 * files.
 */
class Fields {
  readonly raw: JsonObject;
  readonly #warnings: string[] = [];
  /** The name in the file of each field that has another spelling there. */
  readonly #spelled = new Map<string, string>();

  constructor(raw: JsonObject, aliases: Readonly<Record<string, string>>) {
    this.raw = raw;
    for (const [alias, name] of Object.entries(aliases)) {
      const [own, other] = [this.#value(name), raw.get(alias) ?? null];
      if (other === null) continue;
      if (own === null) this.#spelled.set(name, alias);
      else if (own !== other) {
        throw new ConfigError(
          alias,
          `is another name of ${name}, but is ${shorten(other)} where ${this.#name(name)} is ${shorten(own)}; remove the wrong one`,
        );
      }
    }
  }

  #name(name: string): string {
    return this.#spelled.get(name) ?? name;
  }
  #value(name: string): JsonValue {
    return this.raw.get(this.#name(name)) ?? null;
  }

  has(name: string): boolean {
    return this.#value(name) !== null;
  }

  #get<T extends JsonValue>(
    name: string,
    what: string,
    is: (value: JsonValue) => value is T,
    fallback: T | undefined,
  ): T {
    const value = this.#value(name);
    if (value === null) {
      if (fallback !== undefined) return fallback;
      throw new ConfigError(name, `expected ${what}, but the field is missing`);
    }
    if (!is(value)) throw new ConfigError(this.#name(name), `expected ${what}, got ${shorten(value)}`);
    return value;
  }

  boolean(name: string, fallback: boolean): boolean {
    // Null is falsy in Python: absent and null are the same only where the default is false.
    if (fallback && this.raw.get(name) === null) throw new ConfigError(name, 'expected true or false, got null');
    return this.#get(name, 'true or false', (v) => typeof v === 'boolean', fallback);
  }

  /**
   * 1 to `most`; by default 2^24, more than any vocabulary or width. A bound, because a file of 100 bytes must not make
   * us list 10^9 weights.
   */
  natural(name: string, fallback?: number, most = 1 << 24): number {
    const is = (v: JsonValue): v is number => Number.isInteger(v) && (v as number) >= 1 && (v as number) <= most;
    return this.#get(name, `a whole number from 1 to ${most}`, is, fallback);
  }

  number(name: string, fallback: number, { what, least, most }: Bounds): number {
    return this.#get(name, what, (v): v is number => typeof v === 'number' && v >= least && v <= most, fallback);
  }

  oneOf(name: string, allowed: readonly string[], fallback: string): void {
    const value = this.#get(name, choices(allowed), (v) => typeof v === 'string', fallback);
    if (!allowed.includes(value)) {
      throw new UnsupportedError(name, `expected ${choices(allowed)}, got ${shorten(value)}`);
    }
  }

  /** Checks the probabilities and warns once of those above 0. */
  dropout(names: readonly string[]): void {
    const bounds = { what: 'a probability from 0 to below 1', least: 0, most: 1 - Number.EPSILON };
    const rates = names.map((name) => [name, this.number(name, 0, bounds)] as const);
    const given = rates.filter(([, rate]) => rate > 0).map(([name, rate]) => `${name} ${rate}`);
    if (!given.length) return;
    this.#warnings.push(
      `config.json asks for dropout (${given.join(', ')}), which is not applied: training here has none`,
    );
  }

  divide(whole: string, a: number, part: string, b: number): number {
    if (a % b) throw new ConfigError(this.#name(whole), `expected a multiple of ${this.#name(part)} ${b}, got ${a}`);
    return a / b;
  }

  rest(): Pick<Common, 'initStd' | 'raw' | 'warnings'> {
    const initStd = this.number('initializer_range', 0.02, { what: 'a number from 0 to 1', least: 0, most: 1 });
    return { initStd, raw: this.raw, warnings: this.#warnings };
  }
}

/** "a, b or c". */
function choices(names: readonly string[]): string {
  return names.length === 1 ? names[0]! : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}
