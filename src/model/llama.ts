// Llama (LlamaForCausalLM): h = embed[token]; per layer h += o_proj(attention(rope(qkv(norm h)))), h +=
// down(silu(gate(norm h)) * up(norm h)); logits = norm(h) head^T. Weights are [out, in], no biases. q, k, v and gate,
// up are each one product: their weights are glued row-wise on load.

import type { Tensor } from '../device/tensor.ts';
import { rmsNorm } from '../ops/rms-norm.ts';
import { rope } from '../ops/rope.ts';
import { swiglu } from '../ops/swiglu.ts';
import type { ModelConfig } from './config.ts';
import type { Network, NetworkContext } from './network.ts';
import { matrix, vector, vocabMatrix } from './param-spec.ts';
import type { ParamSpec, StageRange } from './param-spec.ts';
import type { ShardPlace } from './parallelism.ts';

export function attentionWeights(config: ModelConfig, layer: number, { tp }: ShardPlace): readonly ParamSpec[] {
  const { hidden: D, headDim } = config;
  const at = `model.layers.${layer}`;
  const q = (config.heads / tp.size) * headDim;
  const kv = (config.kvHeads / tp.size) * headDim;
  return [
    vector(`h${layer}.norm1`, `${at}.input_layernorm.weight`, D, 'replicated'),
    matrix(`h${layer}.qkv`, D, 'tensor', [
      { weight: `${at}.self_attn.q_proj.weight`, rows: q, fromRow: tp.rank * q },
      { weight: `${at}.self_attn.k_proj.weight`, rows: kv, fromRow: tp.rank * kv },
      { weight: `${at}.self_attn.v_proj.weight`, rows: kv, fromRow: tp.rank * kv },
    ]),
    matrix(`h${layer}.o`, q, 'tensor', [{ weight: `${at}.self_attn.o_proj.weight`, rows: D, fromCol: tp.rank * q }]),
    vector(`h${layer}.norm2`, `${at}.post_attention_layernorm.weight`, D, 'replicated'),
  ];
}

function mlpParams(config: ModelConfig, layer: number, { tp }: ShardPlace): readonly ParamSpec[] {
  const { hidden: D } = config;
  const f = config.mlp / tp.size;
  const at = `model.layers.${layer}.mlp`;
  return [
    matrix(`h${layer}.gateUp`, D, 'tensor', [
      { weight: `${at}.gate_proj.weight`, rows: f, fromRow: tp.rank * f },
      { weight: `${at}.up_proj.weight`, rows: f, fromRow: tp.rank * f },
    ]),
    matrix(`h${layer}.down`, f, 'tensor', [{ weight: `${at}.down_proj.weight`, rows: D, fromCol: tp.rank * f }]),
  ];
}

/** Embedding, `layers` and head of a Llama-shaped network. */
export function llamaParams(
  config: ModelConfig,
  range: StageRange,
  place: ShardPlace,
  layers: (layer: number) => readonly ParamSpec[],
): readonly ParamSpec[] {
  const { hidden: D, vocab: V, tied } = config;
  const specs: ParamSpec[] = [];
  if (range.first) specs.push(vocabMatrix('embed', 'model.embed_tokens.weight', V, D, place.tp, 'tensor'));
  for (let layer = range.firstLayer; layer < range.endLayer; layer++) specs.push(...layers(layer));
  if (range.last) {
    specs.push(vector('norm', 'model.norm.weight', D, 'replicated'));
    if (!tied) specs.push(vocabMatrix('head', 'lm_head.weight', V, D, place.tp, 'tensor'));
    else if (!range.first) specs.push(vocabMatrix('tiedHead', 'model.embed_tokens.weight', V, D, place.tp, 'tied'));
  }
  return specs;
}

/** h + o_proj(attention(rope(qkv(norm h)))). */
export function attentionBlock(c: NetworkContext, layer: number, x: Tensor): Tensor {
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
  const attended = par.attention(tape, turned, {
    B: c.B,
    T: c.T,
    heads,
    kvHeads,
    headDim,
    causal: true,
    scale: 1 / Math.sqrt(headDim),
    mask: c.mask,
  });
  return par.rowLinear(tape, attended, c.param(`h${layer}.o`), undefined, x);
}

export function norm(c: NetworkContext, x: Tensor, name: string): Tensor {
  return c.tape.apply(rmsNorm, { x }, { w: c.param(name) }, { eps: c.config.normEps });
}

export const llama: Network = {
  params: (config, range, place) =>
    llamaParams(config, range, place, (layer) => [
      ...attentionWeights(config, layer, place),
      ...mlpParams(config, layer, place),
    ]),
  embed: (c, ids) => c.parallelism.embedding(c.tape, ids, c.param('embed')),
  block(c, layer, x) {
    const mid = attentionBlock(c, layer, x);
    const gateUp = c.parallelism.columnLinear(c.tape, norm(c, mid, `h${layer}.norm2`), c.param(`h${layer}.gateUp`));
    return c.parallelism.rowLinear(
      c.tape,
      c.tape.apply(swiglu, { gateUp }, {}, null),
      c.param(`h${layer}.down`),
      undefined,
      mid,
    );
  },
  norm: (c, x) => norm(c, x, 'norm'),
  headName: (config, range) => (!config.tied ? 'head' : range.first ? 'embed' : 'tiedHead'),
};
