// The weights of a whole model and their first values, from the list of its family. A tied model has no lm_head.weight
// of its own. How a file's tensors become these weights stands in huggingface/weights-file.ts, how a rank's parameters
// are cut from them in stage-params.ts.

import { LimitError } from '../base/errors.ts';
import { fillNormal } from '../base/random.ts';
import { elements, formatShape } from '../base/shape.ts';
import type { ModelConfig } from './config.ts';
import { familyOf } from './registry.ts';
import type { WeightSpec } from './weight.ts';

export type { WeightSpec } from './weight.ts';

/** In the order of the network: embeddings, layers, last norm, head. LimitError for a tensor of 2^31 elements. */
export function weightSpecs(config: ModelConfig): readonly WeightSpec[] {
  const { embedding, layer, end } = familyOf(config).weights(config);
  const layers = Array.from({ length: config.layers }, (_, i) => layer(i));
  const specs = [...embedding, ...layers.flat(), ...end];
  for (const { name, shape } of specs)
    if (elements(shape) >= 2 ** 31)
      throw new LimitError(
        `model: ${name} ${formatShape(shape)} has ${elements(shape)} elements; one tensor can hold less than 2^31`,
      );
  return specs;
}

/** Numbers in all these weights; a tied table counts once. */
export function countNumbers(weights: readonly WeightSpec[]): number {
  return weights.reduce((sum, spec) => sum + elements(spec.shape), 0);
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
