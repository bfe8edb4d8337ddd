// Mixtral (MixtralForCausalLM): a Llama whose MLP is block_sparse_moe, top-k of E SwiGLU experts. w1 and w3 are glued
// per expert into one [2F, D] block; under ep a rank holds E/ep whole experts, under tp each expert's F is cut.

import { InternalError } from '../base/errors.ts';
import type { MixtralConfig, ModelConfig } from './config.ts';
import { attentionBlock, attentionWeights, llama, llamaParams, norm } from './llama.ts';
import type { Network } from './network.ts';
import { matrix } from './param-spec.ts';
import type { ParamSpec } from './param-spec.ts';
import type { ShardPlace } from './parallelism.ts';

function mixtralConfig(config: ModelConfig): MixtralConfig {
  if (config.family !== 'mixtral') throw new InternalError(`mixtral network with a ${config.family} config`);
  return config;
}

function expertParams(config: MixtralConfig, layer: number, { tp, ep }: ShardPlace): readonly ParamSpec[] {
  const { hidden: D } = config;
  const f = config.mlp / tp.size;
  const local = config.experts / ep.size;
  const at = `model.layers.${layer}.block_sparse_moe`;
  const own = Array.from({ length: local }, (_, i) => `${at}.experts.${ep.rank * local + i}`);
  return [
    matrix(`h${layer}.router`, D, 'replicated', [{ weight: `${at}.gate.weight`, rows: config.experts }]),
    matrix(
      `h${layer}.expertsGateUp`,
      D,
      'expert',
      own.flatMap((expert) => [
        { weight: `${expert}.w1.weight`, rows: f, fromRow: tp.rank * f },
        { weight: `${expert}.w3.weight`, rows: f, fromRow: tp.rank * f },
      ]),
      [local, 2 * f, D],
    ),
    matrix(
      `h${layer}.expertsDown`,
      f,
      'expert',
      own.map((expert) => ({ weight: `${expert}.w2.weight`, rows: D, fromCol: tp.rank * f })),
      [local, D, f],
    ),
  ];
}

export const mixtral: Network = {
  ...llama,
  params: (config, range, place) =>
    llamaParams(config, range, place, (layer) => [
      ...attentionWeights(config, layer, place),
      ...expertParams(mixtralConfig(config), layer, place),
    ]),
  block(c, layer, x) {
    const { experts, expertsPerToken } = mixtralConfig(c.config);
    const mid = attentionBlock(c, layer, x);
    const weights = {
      gate: c.param(`h${layer}.router`),
      gateUp: c.param(`h${layer}.expertsGateUp`),
      down: c.param(`h${layer}.expertsDown`),
    };
    return c.parallelism.experts(
      c.tape,
      norm(c, mid, `h${layer}.norm2`),
      weights,
      { experts, perToken: expertsPerToken },
      mid,
    );
  },
};
