// The base of the rotary angles from the three places where a config may say it: `rope_theta`, `rope_scaling` (older
// files: null, or a scaling with `type` or `rope_type`) and `rope_parameters` (newer ones: base and scaling in one).
// Scaled angles are not implemented.
// Source: Hugging Face transformers, modeling_rope_utils.py.

import { ConfigError, UnsupportedError } from '../../base/errors.ts';
import { isObject, type JsonObject, type JsonValue } from '../../base/json.ts';
import { shorten } from './field-rules.ts';

/** Where angles are unscaled, these say nothing more, whatever their value. */
const OF_SCALED_ANGLES: ReadonlySet<string> = new Set(['original_max_position_embeddings']);

/** Parameters of scaled angles; the default ones read none of them. */
const NOT_READ_BY_DEFAULT: ReadonlySet<string> = new Set(['factor', 'attention_factor']);

/** The base; ConfigError where two places differ, UnsupportedError for angles that are scaled in any way. */
export function ropeTheta(raw: JsonObject, fallback: number): number {
  const found: (readonly [string, number])[] = [];
  const base = (name: string, value: JsonValue | undefined): void => {
    if (value === undefined || value === null) return;
    if (typeof value !== 'number' || !(value > 0 && value <= 1e15)) {
      throw new ConfigError(name, `expected a number above 0, at most 1e15, got ${shorten(value)}`);
    }
    found.push([name, value]);
  };
  base('rope_theta', raw.get('rope_theta'));
  for (const name of ['rope_scaling', 'rope_parameters']) {
    const value = raw.get(name) ?? null;
    if (value === null) continue;
    if (!isObject(value)) throw new ConfigError(name, `expected null or an object, got ${shorten(value)}`);
    checkUnscaled(name, value);
    base(`${name}.rope_theta`, value.get('rope_theta'));
  }
  const [first, ...others] = found;
  for (const [name, value] of others) {
    if (value === first![1]) continue;
    throw new ConfigError(name, `is ${value}, but ${first![0]} is ${first![1]}; remove the wrong one`);
  }
  return first?.[1] ?? fallback;
}

function checkUnscaled(where: string, parameters: JsonObject): void {
  const given = [...parameters].filter(([, value]) => value !== null);
  for (const [name, value] of given) {
    if (name !== 'type' && name !== 'rope_type') continue;
    if (value === 'default') continue;
    throw new UnsupportedError(
      `${where}.${name}`,
      `only "default" is supported, got ${shorten(value)}: scaled rotary angles are not implemented`,
    );
  }
  const unscaled = given.some(([name]) => name === 'type' || name === 'rope_type');
  for (const [name, value] of given) {
    const harmless =
      name === 'type' ||
      name === 'rope_type' ||
      name === 'rope_theta' ||
      OF_SCALED_ANGLES.has(name) ||
      (unscaled && NOT_READ_BY_DEFAULT.has(name)) ||
      // Scaled by 1 and applied to the whole head is not scaled.
      ((name === 'factor' || name === 'partial_rotary_factor' || name === 'attention_factor') && value === 1);
    if (harmless) continue;
    throw new UnsupportedError(
      `${where}.${name}`,
      `only unscaled rotary angles are supported, got ${shorten(value)}; remove it if the angles are not scaled`,
    );
  }
}
