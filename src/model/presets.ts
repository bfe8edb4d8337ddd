// The presets of all families, as Hugging Face configs by name; the vocabulary comes from the tokenizer.

import { ConfigError } from '../base/errors.ts';
import { parseModelConfig, type ModelConfig } from './config.ts';
import type { PresetSizes } from './family.ts';
import { presetFamilies } from './registry.ts';

export const PRESET_NAMES: readonly string[] = [...presetFamilies.keys()];

export function isPresetName(name: string): boolean {
  return presetFamilies.has(name);
}

/** The config of preset `name` with `vocab` tokens. `context` and `layers` replace the preset's own. */
export function presetConfig(
  name: string,
  vocab: number,
  change: { readonly context?: number; readonly layers?: number } = {},
): ModelConfig {
  const { sizes, config } = presetOf(name);
  return parseModelConfig(JSON.stringify(config({ ...sizes, ...change }, vocab)));
}

/** Context length of preset `name` as it stands. */
export function presetContext(name: string): number {
  return presetOf(name).sizes.context;
}

function presetOf(name: string): {
  readonly sizes: PresetSizes;
  config(sizes: PresetSizes, vocab: number): Readonly<Record<string, unknown>>;
} {
  const presets = presetFamilies.get(name)?.presets;
  if (!presets)
    throw new ConfigError(
      'model',
      `expected a preset (${PRESET_NAMES.join(', ')}) or a model folder, got ${JSON.stringify(name)}`,
    );
  return { sizes: presets.sizes[name], config: presets.config };
}
