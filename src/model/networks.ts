// The network of each model_type.

import { ConfigError } from '../base/errors.ts';
import type { ModelConfig } from './config.ts';
import { gpt2 } from './gpt2.ts';
import { llama } from './llama.ts';
import { mixtral } from './mixtral.ts';
import type { Network } from './network.ts';

const NETWORKS: Readonly<Record<ModelConfig['family'], Network>> = { gpt2, llama, mixtral };

export function networkOf(config: ModelConfig): Network {
  if (config.family === 'llama' && config.linearAttentionLayers.length) throw new ConfigError('linear_attention_layers', 'linear attention is not here yet; use a llama whose layers are all softmax attention');
  return NETWORKS[config.family];
}
