// The network of each model_type.

import { UnsupportedError } from '../base/errors.ts';
import type { ModelConfig } from './config.ts';
import { gpt2 } from './gpt2.ts';
import { llama } from './llama.ts';
import { mixtral } from './mixtral.ts';
import type { Network } from './network.ts';

const NETWORKS: Readonly<Record<ModelConfig['family'], Network>> = { gpt2, llama, mixtral };

/** UnsupportedError for a config that can be read, but whose network is not implemented. */
export function networkOf(config: ModelConfig): Network {
  if (config.family === 'llama' && config.linearAttentionLayers.length) {
    throw new UnsupportedError(
      'linear_attention_layers',
      `only [] is supported, got [${config.linearAttentionLayers.join(',')}]: layers with linear attention are not implemented`,
    );
  }
  return NETWORKS[config.family];
}
