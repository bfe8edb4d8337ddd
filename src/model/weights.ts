// Every weight of a model by its Hugging Face name and shape, with its first value and whether weight decay applies.
// Layouts are those of the files: GPT-2's Conv1D is [in, out] with c_attn = q | k | v, the Linear of Llama and Mixtral
// is [out, in]. A tied model has no lm_head.weight of its own. How a file's tensors become these weights stands in
// huggingface/weights-file.ts.

import { LimitError } from '../base/errors.ts';
import { fillNormal } from '../base/random.ts';
import { elements, formatShape, type Shape } from '../base/shape.ts';
import type { ModelConfig } from './config.ts';

export type WeightInit =
  { readonly kind: 'normal'; readonly std: number } | { readonly kind: 'zeros' } | { readonly kind: 'ones' };

export interface WeightSpec {
  /** As the LM-head class saves it, prefix included. */
  readonly name: string;
  readonly shape: Shape;
  readonly init: WeightInit;
  /** Weight decay applies: tensors of 2 or more dimensions, embeddings included. */
  readonly decays: boolean;
}

const ONES: WeightInit = { kind: 'ones' };
const ZEROS: WeightInit = { kind: 'zeros' };

/** In the order of the network: embeddings, layers, last norm, head. */
export function weightSpecs(config: ModelConfig): readonly WeightSpec[] {
  const specs: WeightSpec[] = [];
  const add = (name: string, shape: Shape, init: WeightInit): void => {
    if (elements(shape) >= 2 ** 31)
      throw new LimitError(
        `model: ${name} ${formatShape(shape)} has ${elements(shape)} elements; one tensor can hold less than 2^31`,
      );
    specs.push({ name, shape, init, decays: shape.length >= 2 });
  };
  const { layers, hidden: D, vocab: V, initStd } = config;
  const normal: WeightInit = { kind: 'normal', std: initStd };
  // GPT-2's rule: 2 * layers projections add into the residual stream, so each starts smaller by the root of their
  // number.
  const residual: WeightInit = { kind: 'normal', std: initStd / Math.sqrt(2 * layers) };

  if (config.family === 'gpt2') {
    const M = config.mlp;
    add('transformer.wte.weight', [V, D], normal);
    add('transformer.wpe.weight', [config.maxPositions, D], normal);
    for (let i = 0; i < layers; i++) {
      const h = `transformer.h.${i}`;
      add(`${h}.ln_1.weight`, [D], ONES);
      add(`${h}.ln_1.bias`, [D], ZEROS);
      add(`${h}.attn.c_attn.weight`, [D, 3 * D], normal);
      add(`${h}.attn.c_attn.bias`, [3 * D], ZEROS);
      add(`${h}.attn.c_proj.weight`, [D, D], residual);
      add(`${h}.attn.c_proj.bias`, [D], ZEROS);
      add(`${h}.ln_2.weight`, [D], ONES);
      add(`${h}.ln_2.bias`, [D], ZEROS);
      add(`${h}.mlp.c_fc.weight`, [D, M], normal);
      add(`${h}.mlp.c_fc.bias`, [M], ZEROS);
      add(`${h}.mlp.c_proj.weight`, [M, D], residual);
      add(`${h}.mlp.c_proj.bias`, [D], ZEROS);
    }
    add('transformer.ln_f.weight', [D], ONES);
    add('transformer.ln_f.bias', [D], ZEROS);
  } else {
    const { mlp: M, heads, kvHeads, headDim } = config;
    add('model.embed_tokens.weight', [V, D], normal);
    for (let i = 0; i < layers; i++) {
      const h = `model.layers.${i}`;
      add(`${h}.self_attn.q_proj.weight`, [heads * headDim, D], normal);
      add(`${h}.self_attn.k_proj.weight`, [kvHeads * headDim, D], normal);
      add(`${h}.self_attn.v_proj.weight`, [kvHeads * headDim, D], normal);
      add(`${h}.self_attn.o_proj.weight`, [D, heads * headDim], residual);
      if (config.family === 'llama') {
        add(`${h}.mlp.gate_proj.weight`, [M, D], normal);
        add(`${h}.mlp.up_proj.weight`, [M, D], normal);
        add(`${h}.mlp.down_proj.weight`, [D, M], residual);
      } else {
        add(`${h}.block_sparse_moe.gate.weight`, [config.experts, D], normal);
        for (let e = 0; e < config.experts; e++) {
          const expert = `${h}.block_sparse_moe.experts.${e}`;
          add(`${expert}.w1.weight`, [M, D], normal);
          add(`${expert}.w2.weight`, [D, M], residual);
          add(`${expert}.w3.weight`, [M, D], normal);
        }
      }
      add(`${h}.input_layernorm.weight`, [D], ONES);
      add(`${h}.post_attention_layernorm.weight`, [D], ONES);
    }
    add('model.norm.weight', [D], ONES);
  }
  if (!config.tied) add('lm_head.weight', [V, D], normal);
  return specs;
}

/** Number of weights; a tied table counts once. */
export function countWeights(config: ModelConfig): number {
  return weightSpecs(config).reduce((sum, spec) => sum + elements(spec.shape), 0);
}

/**
 * The first value of a whole weight. Element i depends on (seed, name, i) alone: see `fillInitialWeight` for a part.
 */
export function initialWeight(spec: WeightSpec, seed: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(elements(spec.shape));
  fillInitialWeight(out, spec, seed, 0);
  return out;
}

/**
 * Elements [firstIndex, firstIndex + out.length) of the whole weight in row-major order: what a shard fills, row by
 * row.
 */
export function fillInitialWeight(out: Float32Array, spec: WeightSpec, seed: number, firstIndex: number): void {
  if (spec.init.kind === 'normal') fillNormal(out, seed, spec.name, firstIndex, spec.init.std);
  else out.fill(spec.init.kind === 'ones' ? 1 : 0);
}
