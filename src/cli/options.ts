// Strict options for the commands: `--name value`, `--name=value`, `--flag`. Anything unknown, missing or out of range
// is a ConfigError, which the command line turns into exit code 2.

import { parseArgs } from 'node:util';
import { ConfigError } from '../base/errors.ts';
import { didYouMean } from './nearest.ts';

export interface OptionSpec {
  readonly type: 'string' | 'number' | 'count' | 'flag';
  /** What it means, with its unit; one line of --help. */
  readonly about: string;
  /** Word for its value in --help where that of its type says too little: FILE, mesh. */
  readonly value?: string;
  /** Shown in --help and returned when the option is not given. */
  readonly default?: string | number | boolean;
  /** The only values allowed. */
  readonly choices?: readonly string[];
}
export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type ValueOf<S extends OptionSpec> = S['type'] extends 'flag'
  ? boolean
  : S['type'] extends 'number' | 'count'
    ? number
    : string;
/** An option without a default may be undefined; a flag is false unless it is given. */
export type Options<T extends OptionSpecs> = {
  readonly [K in keyof T]: T[K]['type'] extends 'flag'
    ? boolean
    : T[K] extends { readonly default: string | number }
      ? ValueOf<T[K]>
      : ValueOf<T[K]> | undefined;
};

function parseValue(name: string, spec: OptionSpec, text: string): string | number {
  if (spec.choices && !spec.choices.includes(text))
    throw new ConfigError(
      `--${name}`,
      `expected ${spec.choices.join(', ')}, got '${text}'${didYouMean(text, spec.choices)}`,
    );
  if (spec.type === 'string') return text;
  const value = text.trim() === '' ? NaN : Number(text);
  if (spec.type === 'count' && !(Number.isSafeInteger(value) && value >= 1))
    throw new ConfigError(`--${name}`, `expected a whole number of at least 1, got '${text}'`);
  if (!Number.isFinite(value)) throw new ConfigError(`--${name}`, `expected a number, got '${text}'`);
  return value;
}

/** Parses `args`. At most `maxPositionals` words without a dash are allowed. */
export function parseOptions<const T extends OptionSpecs>(
  args: readonly string[],
  specs: T,
  maxPositionals = 0,
): { options: Options<T>; positionals: readonly string[] } {
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      Object.entries(specs).map(([name, spec]) => [
        name,
        { type: spec.type === 'flag' ? ('boolean' as const) : ('string' as const) },
      ]),
    ),
  });
  const values: Record<string, string | number | boolean | undefined> = {};
  for (const [name, spec] of Object.entries(specs))
    values[name] = spec.type === 'flag' ? spec.default === true : spec.default;
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined;
    if (spec === undefined) throw unknownOption(token.rawName, token.name, Object.keys(specs));
    if (spec.type === 'flag') {
      if (token.value !== undefined) throw new ConfigError(`--${token.name}`, `takes no value, got '${token.value}'`);
      values[token.name] = true;
    } else {
      if (token.value === undefined) throw new ConfigError(`--${token.name}`, 'expected a value after it, got none');
      values[token.name] = parseValue(token.name, spec, token.value);
    }
  }
  if (positionals.length > maxPositionals)
    throw new ConfigError(
      `'${positionals[maxPositionals]}'`,
      maxPositionals === 0
        ? 'this command takes only options'
        : `this command takes at most ${maxPositionals} word${maxPositionals === 1 ? '' : 's'}`,
    );
  return { options: values as Options<T>, positionals };
}

/** One sentence of one line, however many options there are: the nearest first, then all. */
function unknownOption(raw: string, name: string, known: readonly string[]): ConfigError {
  const all = known.map((one) => `--${one}`).join(', ') || 'none';
  return new ConfigError(raw, `unknown option${didYouMean(name, known, '--') || ';'} the options are ${all}`);
}

/** A port number. */
export function portOf(port: number): number {
  if (port > 65535) throw new ConfigError('--port', `expected at most 65535, got ${port}`);
  return port;
}

const WORDS = { string: 'text', number: 'number', count: 'n' } as const;

/** The lines of --help for these options; `n` is a whole number. */
export function describeOptions(specs: OptionSpecs): string {
  const rows = Object.entries(specs).map(([name, spec]) => {
    const value = spec.choices
      ? ` ${spec.choices.join('|')}`
      : spec.type === 'flag'
        ? ''
        : ` ${spec.value ?? WORDS[spec.type]}`;
    const preset = spec.default === undefined || spec.type === 'flag' ? '' : ` (default ${spec.default})`;
    return [`  --${name}${value}`, `${spec.about}${preset}`] as const;
  });
  const width = Math.min(34, Math.max(0, ...rows.map(([left]) => left.length)));
  return rows
    .map(([left, right]) =>
      left.length > width ? `${left}\n${' '.repeat(width)}  ${right}` : `${left.padEnd(width)}  ${right}`,
    )
    .join('\n');
}
