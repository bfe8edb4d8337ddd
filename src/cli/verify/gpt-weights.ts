// Weights of a network by its own parameter names, as a case holds them, to and from the flat buffers of a stage and
// Hugging Face weights.

import { elements } from '../../base/shape.ts';
import type { Device } from '../../device/device.ts';
import type { ModelConfig } from '../../model/config.ts';
import type { FlatLayout } from '../../model/flat-params.ts';
import { readParts, writeParts } from '../../model/param-spec.ts';
import type { Stage } from '../../model/stage.ts';
import { weightSpecs } from '../../model/weights.ts';
import type { AdamW } from '../../train/optimizer.ts';
import type { WeightSource } from '../../model/param-spec.ts';

type F32 = Float32Array<ArrayBuffer>;

/** The whole Hugging Face weights that these parameters of an unsplit network are cut from. */
export function wholeWeights(config: ModelConfig, layout: FlatLayout, values: (name: string) => F32): WeightSource {
  const weights = new Map(
    weightSpecs(config).map(({ name, shape }) => [name, { shape, data: new Float32Array(elements(shape)) }]),
  );
  const source: WeightSource = (name) => weights.get(name)!;
  for (const [name, { spec }] of layout.places) writeParts(spec, values(name), source);
  return source;
}

/** The flat buffer's content for whole weights. */
export function flatten({ size, places }: FlatLayout, weights: WeightSource): F32 {
  const flat = new Float32Array(size);
  for (const { spec, start } of places.values())
    readParts(spec, weights, flat.subarray(start, start + elements(spec.shape)));
  return flat;
}

/** The parameters in a flat buffer under `nameOf` their names. */
export function unflatten({ places }: FlatLayout, flat: F32, nameOf: (name: string) => string): Record<string, F32> {
  return Object.fromEntries(
    [...places].map(([name, { spec, start }]) => [nameOf(name), flat.slice(start, start + elements(spec.shape))]),
  );
}

/** Weights and both moments of a stage whose optimiser owns everything. */
export async function readState(
  device: Device,
  { params }: Stage,
  { moments }: AdamW,
): Promise<{ values: F32; m: F32; v: F32 }> {
  const whole = { buffer: params.values, offset: 0, bytes: params.layout.size * 4 };
  const parts = await device.submit([], [whole, ...moments.flatMap(({ m, v }) => [m, v])]);
  const [m, v] = [new Float32Array(params.layout.size), new Float32Array(params.layout.size)];
  moments.forEach(({ owned }, i) => {
    m.set(new Float32Array(parts[1 + 2 * i]), owned.start);
    v.set(new Float32Array(parts[2 + 2 * i]), owned.start);
  });
  return { values: new Float32Array(parts[0]), m, v };
}
