// Typed reading of the fields of a config.json: each value is checked, and a wrong one is refused by the name of its
// field.

import { ConfigError, UnsupportedError } from '../../base/errors.ts';
import type { JsonObject, JsonValue } from '../../base/json.ts';
import type { CommonConfig } from '../config.ts';
import { shorten } from './field-rules.ts';

/** More than any network has. */
export const MAX_LAYERS = 1024;

export interface Bounds {
  readonly what: string;
  readonly least: number;
  readonly most: number;
}
/** Kernels add it in f32, where less than this is 0 and no longer guards the division. */
export const EPS: Bounds = { what: 'a number from 1e-30 to 1', least: 1e-30, most: 1 };

/**
 * Typed access to the fields of a config, under any of their spellings; null counts as absent, as in Hugging Face
 * files.
 */
export class Fields {
  readonly raw: JsonObject;
  readonly #warnings: string[] = [];
  /** The name in the file of each field that has another spelling there. */
  readonly #spelled = new Map<string, string>();

  constructor(raw: JsonObject, aliases: Readonly<Record<string, string>>) {
    this.raw = raw;
    for (const [alias, name] of Object.entries(aliases)) {
      const [own, other] = [this.#value(name), raw.get(alias) ?? null];
      if (other === null) continue;
      if (own === null) this.#spelled.set(name, alias);
      else if (own !== other) {
        throw new ConfigError(
          alias,
          `is another name of ${name}, but is ${shorten(other)} where ${this.#name(name)} is ${shorten(own)}; remove the wrong one`,
        );
      }
    }
  }

  #name(name: string): string {
    return this.#spelled.get(name) ?? name;
  }
  #value(name: string): JsonValue {
    return this.raw.get(this.#name(name)) ?? null;
  }

  has(name: string): boolean {
    return this.#value(name) !== null;
  }

  #get<T extends JsonValue>(
    name: string,
    what: string,
    is: (value: JsonValue) => value is T,
    fallback: T | undefined,
  ): T {
    const value = this.#value(name);
    if (value === null) {
      if (fallback !== undefined) return fallback;
      throw new ConfigError(name, `expected ${what}, but the field is missing`);
    }
    if (!is(value)) throw new ConfigError(this.#name(name), `expected ${what}, got ${shorten(value)}`);
    return value;
  }

  boolean(name: string, fallback: boolean): boolean {
    // Null is falsy in Python: absent and null are the same only where the default is false.
    if (fallback && this.raw.get(name) === null) throw new ConfigError(name, 'expected true or false, got null');
    return this.#get(name, 'true or false', (v) => typeof v === 'boolean', fallback);
  }

  /**
   * 1 to `most`; by default 2^24, more than any vocabulary or width. A bound, because a file of 100 bytes must not make
   * us list 10^9 weights.
   */
  natural(name: string, fallback?: number, most = 1 << 24): number {
    const is = (v: JsonValue): v is number => Number.isInteger(v) && (v as number) >= 1 && (v as number) <= most;
    return this.#get(name, `a whole number from 1 to ${most}`, is, fallback);
  }

  number(name: string, fallback: number, { what, least, most }: Bounds): number {
    return this.#get(name, what, (v): v is number => typeof v === 'number' && v >= least && v <= most, fallback);
  }

  oneOf(name: string, allowed: readonly string[], fallback: string): void {
    const value = this.#get(name, choices(allowed), (v) => typeof v === 'string', fallback);
    if (!allowed.includes(value)) {
      throw new UnsupportedError(name, `expected ${choices(allowed)}, got ${shorten(value)}`);
    }
  }

  /** Checks the probabilities and warns once of those above 0. */
  dropout(names: readonly string[]): void {
    const bounds = { what: 'a probability from 0 to below 1', least: 0, most: 1 - Number.EPSILON };
    const rates = names.map((name) => [name, this.number(name, 0, bounds)] as const);
    const given = rates.filter(([, rate]) => rate > 0).map(([name, rate]) => `${name} ${rate}`);
    if (!given.length) return;
    this.#warnings.push(
      `config.json asks for dropout (${given.join(', ')}), which is not applied: training here has none`,
    );
  }

  divide(whole: string, a: number, part: string, b: number): number {
    if (a % b) throw new ConfigError(this.#name(whole), `expected a multiple of ${this.#name(part)} ${b}, got ${a}`);
    return a / b;
  }

  rest(): Pick<CommonConfig, 'initStd' | 'raw' | 'warnings'> {
    const initStd = this.number('initializer_range', 0.02, { what: 'a number from 0 to 1', least: 0, most: 1 });
    return { initStd, raw: this.raw, warnings: this.#warnings };
  }
}

/** "a, b or c". */
export function choices(names: readonly string[]): string {
  return names.length === 1 ? names[0]! : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}
