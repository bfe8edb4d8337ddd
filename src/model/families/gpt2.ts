// GPT-2 (GPT2LMHeadModel): h = wte[token] + wpe[position]; per layer h += proj(attention(ln_1 h)), h +=
// proj(gelu(fc(ln_2 h))); logits = ln_f(h) wte^T. Conv1D weights are stored [in, out] and read transposed. c_attn's
// columns are Q | K | V, cut by heads under tp.
// Source of the fields: GPT2Config of Hugging Face transformers 4.20 to 5, with its attribute_map.

import type { Tensor } from '../../device/tensor.ts';
import { add } from '../../ops/add.ts';
import { embedding } from '../../ops/embedding.ts';
import { gelu } from '../../ops/gelu.ts';
import { layerNorm } from '../../ops/layer-norm.ts';
import { positionEmbedding } from '../../ops/position-embedding.ts';
import type { CommonConfig } from '../config.ts';
import { ATTENTION_SPLITS, defineFamily } from '../family.ts';
import type { PresetSizes } from '../family.ts';
import { COMMON_FIELDS, exactly, harmless, read } from '../huggingface/field-rules.ts';
import type { FieldRules } from '../huggingface/field-rules.ts';
import { EPS, MAX_LAYERS } from '../huggingface/fields.ts';
import type { Fields } from '../huggingface/fields.ts';
import { mixTokens } from '../mixing/mix-tokens.ts';
import type { Network, NetworkContext } from '../network.ts';
import { headWeight, normal, ONES, residual, weight, ZEROS } from '../weight.ts';
import type { ModelWeights, Weight } from '../weight.ts';

export interface Gpt2Config extends CommonConfig {
  readonly family: 'gpt2';
}
declare module '../config.ts' {
  interface FamilyConfigs {
    readonly gpt2: Gpt2Config;
  }
}

const FIELDS: FieldRules = {
  ...COMMON_FIELDS,
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

/** Also what older files say. */
const ALIASES = {
  hidden_size: 'n_embd',
  num_attention_heads: 'n_head',
  num_hidden_layers: 'n_layer',
  max_position_embeddings: 'n_positions',
  n_ctx: 'n_positions',
  vocab_size_or_config_json_file: 'vocab_size',
};

/** One formula up to rounding: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Plain `gelu` is another, with erf. */
const TANH_GELU = ['gelu_new', 'gelu_pytorch_tanh', 'gelu_fast', 'gelu_accurate', 'gelu_python_tanh'];

function readFields(f: Fields): Gpt2Config {
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

function weights(config: Gpt2Config): ModelWeights {
  const { hidden: D, mlp: M, vocab: V, maxPositions } = config;
  const [any, small] = [normal(config), residual(config)];
  const layer = (i: number): readonly Weight[] => {
    const [to, at] = [`h${i}`, `transformer.h.${i}`];
    const conv = { transposed: true };
    return [
      weight(`${to}.ln1.w`, `${at}.ln_1.weight`, [D], ONES, 'whole'),
      weight(`${to}.ln1.b`, `${at}.ln_1.bias`, [D], ZEROS, 'whole'),
      weight(`${to}.qkv.w`, `${at}.attn.c_attn.weight`, [D, 3 * D], any, 'rows', { ...conv, blocks: 3 }),
      weight(`${to}.qkv.b`, `${at}.attn.c_attn.bias`, [3 * D], ZEROS, 'rows', { blocks: 3 }),
      weight(`${to}.proj.w`, `${at}.attn.c_proj.weight`, [D, D], small, 'columns', conv),
      weight(`${to}.proj.b`, `${at}.attn.c_proj.bias`, [D], ZEROS, 'whole'),
      weight(`${to}.ln2.w`, `${at}.ln_2.weight`, [D], ONES, 'whole'),
      weight(`${to}.ln2.b`, `${at}.ln_2.bias`, [D], ZEROS, 'whole'),
      weight(`${to}.fc.w`, `${at}.mlp.c_fc.weight`, [D, M], any, 'rows', conv),
      weight(`${to}.fc.b`, `${at}.mlp.c_fc.bias`, [M], ZEROS, 'rows'),
      weight(`${to}.out.w`, `${at}.mlp.c_proj.weight`, [M, D], small, 'columns', conv),
      weight(`${to}.out.b`, `${at}.mlp.c_proj.bias`, [D], ZEROS, 'whole'),
    ];
  };
  return {
    embedding: [
      weight('wte', 'transformer.wte.weight', [V, D], any, 'vocabulary'),
      weight('wpe', 'transformer.wpe.weight', [maxPositions, D], any, 'whole'),
    ],
    layer,
    end: [
      weight('lnf.w', 'transformer.ln_f.weight', [D], ONES, 'whole'),
      weight('lnf.b', 'transformer.ln_f.bias', [D], ZEROS, 'whole'),
      ...headWeight(config),
    ],
  };
}

const network: Network<Gpt2Config> = {
  start(c, x) {
    const table = c.param('wpe');
    if (!c.positions) return c.tape.apply(positionEmbedding, { x }, { table }, { T: c.T, posStart: c.posStart });
    const looked = c.tape.apply(embedding, { ids: c.positions }, { table }, { vStart: 0 });
    return c.tape.apply(add, { a: x, b: looked }, {}, null);
  },
  block(c, layer, x) {
    const p = (name: string) => c.param(`h${layer}.${name}`);
    const { tape, parallelism: par } = c;
    const a = norm(c, x, `h${layer}.ln1`);
    const qkv = par.columnLinear(tape, a, p('qkv.w'), p('qkv.b'));
    const attended = mixTokens(c, layer, 'softmax', qkv);
    const mid = par.rowLinear(tape, attended, p('proj.w'), p('proj.b')).settle(x);
    const hidden = par.columnLinear(tape, norm(c, mid, `h${layer}.ln2`), p('fc.w'), p('fc.b'));
    const active = tape.apply(gelu, { x: hidden }, {}, { tanh: true });
    return par.rowLinear(tape, active, p('out.w'), p('out.b')).settle(mid);
  },
  norm: (c, x) => norm(c, x, 'lnf'),
};

function norm(c: NetworkContext<Gpt2Config>, x: Tensor, name: string): Tensor {
  return c.tape.apply(
    layerNorm,
    { x },
    { w: c.param(`${name}.w`), b: c.param(`${name}.b`) },
    { eps: c.config.normEps },
  );
}

const presetFields = (s: PresetSizes, vocab: number) => ({
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

export const family = defineFamily<Gpt2Config>({
  name: 'gpt2',
  modelTypes: { gpt2: { fields: FIELDS, aliases: ALIASES } },
  read: readFields,
  weights,
  network,
  mixers: () => 'softmax',
  positions: () => ({ kind: 'learned' }),
  splits: ATTENTION_SPLITS,
  // Its causal mask and the fill value of that.
  files: { prefix: 'transformer.', buffers: /^(?:transformer\.)?h\.\d+\.attn\.(?:bias|masked_bias)$/ },
  presets: {
    sizes: {
      'gpt2-nano': { layers: 2, hidden: 64, heads: 4, kvHeads: 4, context: 64 },
      'gpt2-micro': { layers: 4, hidden: 128, heads: 4, kvHeads: 4, context: 128 },
      'gpt2-mini': { layers: 8, hidden: 256, heads: 8, kvHeads: 8, context: 256 },
    },
    config: presetFields,
  },
});
