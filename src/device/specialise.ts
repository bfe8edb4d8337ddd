// Turns a kernel's WGSL into the text of one pipeline. It replaces the values of named constants, makes `Value` a
// vector where LANES is 4, drops the branches of an `if` that compares constants, unrolls loops whose header ends in
// `// unroll`, and turns private arrays marked `// registers` into named variables when every index is constant after
// unrolling (rolled indexing of private arrays costs as much as barriers on some compilers). What a compiler would fold
// itself is folded here because software adapters take seconds over large unrolled texts. Nothing else is textual; the
// input is valid WGSL by itself.

import { InternalError } from '../base/errors.ts';
import type { Constants } from './kernel.ts';

const CONST_LINE = /^([ \t]*const[ \t]+)(\w+)([ \t]*:[ \t]*)(u32|i32|f32)([ \t]*=[ \t]*)([^;]+);/gm;
const UNROLL_HEADER =
  /for \(var (\w+)(?:: *[ui]32)? = ([^;]+); \1 < ([^;]+); \1 *(\+\+|\+= *[^)]+)\) *\{ *\/\/ unroll[^\n]*/;
const IF_HEADER = /\bif \(([\w%*/+\- ]+?) (==|!=|<|<=|>|>=) ([\w%*/+\- ]+?)\) *\{/g;
const REGISTERS = /var (\w+): *array<(.+), *([^,<>]+)>; *\/\/ registers[^\n]*/;

/**
 * The text of `source` for these constants. With `halves`, `alias scalar = f32;` becomes f16; with LANES 4,
 * `alias Value = f32;` becomes vec4<f32>. Throws InternalError where a marked loop or array cannot be what its mark
 * says.
 */
export function specialise(source: string, constants: Constants, halves = false): string {
  const wide = constants['LANES'] === 4 ? source.replace(/^alias Value = f32;/m, 'alias Value = vec4<f32>;') : source;
  const typed = halves ? `enable f16;\n${wide.replace(/^alias scalar = f32;/m, 'alias scalar = f16;')}` : wide;
  let text = typed.replace(
    CONST_LINE,
    (line, head: string, name: string, colon: string, type: string, equals: string) =>
      name in constants ? `${head}${name}${colon}${type}${equals}${literal(constants[name], type)};` : line,
  );
  const values = constantValues(text);
  text = foldBranches(text, values);
  for (let match = UNROLL_HEADER.exec(text); match; match = UNROLL_HEADER.exec(text))
    text = unroll(text, match, values);
  refuseMark(text, 'unroll', 'loop `for (var i = A; i < B; i++) { // unroll`');
  text = foldBranches(text, values);
  for (let match = REGISTERS.exec(text); match; match = REGISTERS.exec(text)) text = nameRegisters(text, match, values);
  refuseMark(text, 'registers', 'line `var x: array<T, N>; // registers`');
  return text;
}

/** A mark that is left would cost a kernel many times its time, in silence. */
function refuseMark(text: string, mark: string, form: string): void {
  const [line] = new RegExp(`.*// *${mark}\\b.*`).exec(text) ?? [];
  if (line !== undefined) throw new InternalError(`${mark}: expected a ${form}, got "${line.trim()}"`);
}

/** A WGSL literal of `type` for `value`. */
export function literal(value: number, type: string): string {
  if (type === 'u32') return `${value >>> 0}u`;
  if (type === 'i32') return `${value | 0}i`;
  const text = Math.fround(value).toString();
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function constantValues(text: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const match of text.matchAll(CONST_LINE)) {
    const value = match[4] === 'f32' ? Number(match[6]) : evaluate(match[6], values);
    if (value !== undefined && !Number.isNaN(value)) values.set(match[2], value);
  }
  return values;
}

const COMPARE: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

const RETURNS = /\breturn\b[^;{}]*;\s*\}$/;

/**
 * Every `if (x == y) {...} else {...}` of constants becomes the block that is taken, or nothing; what follows a block
 * that returns goes too.
 */
function foldBranches(source: string, values: Map<string, number>): string {
  let text = source;
  IF_HEADER.lastIndex = 0;
  for (let match = IF_HEADER.exec(text); match; match = IF_HEADER.exec(text)) {
    const [header, left, compare, right] = match;
    const [a, b] = [evaluate(left, values), evaluate(right, values)];
    if (a === undefined || b === undefined) continue;
    const open = match.index + header.length - 1;
    const close = closingBrace(text, open);
    const otherwise = /^\s*else\s*(?=\{|if\b)/.exec(text.slice(close + 1));
    const start = close + 1 + (otherwise?.[0].length ?? 0);
    const end = otherwise ? elseEnd(text, start) : close + 1;
    // `else if`: the rest of the chain is kept in a block of its own.
    const other = !otherwise ? '' : text[start] === '{' ? text.slice(start, end) : `{ ${text.slice(start, end)} }`;
    const kept = COMPARE[compare](a, b) ? text.slice(open, close + 1) : other;
    // Compilers warn of what cannot be reached.
    const rest = RETURNS.test(kept) ? enclosingEnd(text, end) : end;
    text = text.slice(0, match.index) + kept + text.slice(rest);
    // What was kept may begin with another one.
    IF_HEADER.lastIndex = match.index;
  }
  return text;
}

/** Index after the last block of what follows `else` at `start`. */
function elseEnd(text: string, start: number): number {
  const close = closingBrace(text, text.indexOf('{', start)) + 1;
  const more = text[start] === '{' ? null : /^\s*else\s*(?=\{|if\b)/.exec(text.slice(close));
  return more ? elseEnd(text, close + more[0].length) : close;
}

function unroll(text: string, match: RegExpExecArray, values: Map<string, number>): string {
  const [header, name, from, to, step] = match;
  const open = match.index + header.indexOf('{');
  const close = closingBrace(text, open);
  const first = evaluate(from, values);
  const end = evaluate(to, values);
  const by = step === '++' ? 1 : evaluate(step.slice(2), values);
  if (first === undefined || end === undefined || by === undefined || by <= 0)
    throw new InternalError(`unroll: bounds of "${header}" are not constant`);
  const body = text.slice(match.index + header.length, close);
  const variable = new RegExp(`\\b${name}\\b`, 'g');
  const suffix = /i$/.test(from.trim()) ? 'i' : 'u';
  const copies: string[] = [];
  for (let i = first; i < end; i += by) copies.push(`{${body.replace(variable, `${i}${suffix}`)}}`);
  return text.slice(0, match.index) + copies.join('\n') + text.slice(close + 1);
}

function nameRegisters(text: string, match: RegExpExecArray, values: Map<string, number>): string {
  const [declaration, name, type, countText] = match;
  const start = match.index + declaration.length;
  const end = enclosingEnd(text, start);
  const count = evaluate(countText, values);
  if (count === undefined) throw new InternalError(`registers: the size of "${declaration}" is not constant`);
  const variables = Array.from({ length: count }, (_, i) => `var ${name}_${i}: ${type};`).join(' ');
  return text.slice(0, match.index) + variables + renameIndices(text.slice(start, end), name, values) + text.slice(end);
}

/**
 * `scope` with every `name[constant]` as `name_constant`. Throws InternalError if an index is not constant or the array
 * is used whole.
 */
function renameIndices(scope: string, name: string, values: Map<string, number>): string {
  // Not a member: `.x` of a vector is no use of a register array called x.
  const use = new RegExp(`(?<!\\.)\\b${name}\\b`, 'g');
  let result = '';
  let last = 0;
  for (let match = use.exec(scope); match; match = use.exec(scope)) {
    const open = match.index + name.length;
    if (scope[open] !== '[') throw new InternalError(`registers: the array ${name} is used whole`);
    let depth = 1;
    let close = open + 1;
    for (; depth > 0 && close < scope.length; close++)
      depth += scope[close] === '[' ? 1 : scope[close] === ']' ? -1 : 0;
    const index = evaluate(scope.slice(open + 1, close - 1), values);
    if (index === undefined)
      throw new InternalError(`registers: ${name}${scope.slice(open, close)} has an index that is not constant`);
    result += `${scope.slice(last, match.index)}${name}_${index}`;
    last = close;
    use.lastIndex = close;
  }
  return result + scope.slice(last);
}

function closingBrace(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  throw new InternalError('specialise: unbalanced braces');
}

/** Index of the brace that closes the block around `from`. */
function enclosingEnd(text: string, from: number): number {
  let depth = 1;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  return text.length;
}

/**
 * Value of an integer expression of literals, known constants, + - * / % and parentheses; undefined if it is anything
 * else.
 */
export function evaluate(expression: string, values: ReadonlyMap<string, number>): number | undefined {
  const tokens = expression.match(/\d+|\w+|[()+\-*/%]|\S/g) ?? [];
  let at = 0;
  const failed = Symbol('not constant');
  const primary = (): number => {
    const token = tokens[at++];
    if (token === '(') {
      const inner = sum();
      if (tokens[at++] !== ')') throw failed;
      return inner;
    }
    if (token === '-') return -primary();
    if (token === undefined) throw failed;
    if (/^\d/.test(token)) {
      if (/^[uif]$/.test(tokens[at] ?? '')) at++;
      return Number(token);
    }
    const value = values.get(token);
    if (value === undefined) throw failed;
    return value;
  };
  const product = (): number => {
    let left = primary();
    while (tokens[at] === '*' || tokens[at] === '/' || tokens[at] === '%') {
      const operator = tokens[at++];
      const right = primary();
      left = operator === '*' ? left * right : operator === '/' ? Math.trunc(left / right) : left % right;
    }
    return left;
  };
  const sum = (): number => {
    let left = product();
    while (tokens[at] === '+' || tokens[at] === '-') left = tokens[at++] === '+' ? left + product() : left - product();
    return left;
  };
  try {
    const value = sum();
    return at === tokens.length ? value : undefined;
  } catch (error) {
    if (error === failed) return undefined;
    throw error;
  }
}
