// A mixer lets the tokens of a row see each other: softmax attention, and others that a file of mixers/ adds. A layer
// names its mixer, or several that each have a run of its heads.

import type { Tensor } from '../../device/tensor.ts';
import type { AttentionAttributes } from '../../ops/attention.ts';
import type { CommonConfig } from '../config.ts';
import type { NetworkContext } from '../network.ts';

export interface Mixer {
  readonly name: string;
  /**
   * qkv [B*T, (H + 2 Hkv) D] -> [B*T, H D]: the heads of `attrs` on this rank, columns Q | K | V. `layer` names the
   * parameters of its own, if it has any.
   */
  mix(c: NetworkContext<CommonConfig>, layer: number, qkv: Tensor, attrs: AttentionAttributes): Tensor;
}

/** `heads` query heads, and the key and value heads that they read. */
export interface HeadRun {
  readonly mixer: string;
  readonly heads: number;
}

/** The mixer of all heads, or of each run of them in order. */
export type LayerMixers = string | readonly HeadRun[];

/** Names of the mixers of a layer. */
export function mixersIn(layer: LayerMixers): readonly string[] {
  return typeof layer === 'string' ? [layer] : layer.map(({ mixer }) => mixer);
}
