// A strict JSON reader for bytes and text from elsewhere: RFC 8259 and nothing more, with caps. Objects come back as
// Map, so that a key called `__proto__` is only a key; a key that stands twice is refused (JSON.parse silently keeps
// the last one). Every failure is a FormatError that names the place. Cost: one pass, recursion at most `maxDepth`
// deep.

import { FormatError } from './errors.ts';
import { visibleJson } from './plain-text.ts';

export type JsonObject = ReadonlyMap<string, JsonValue>;
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

export interface JsonOptions {
  /** Names the format in errors. */
  readonly format: string;
  /** Nesting allowed; 1 is a flat object. */
  readonly maxDepth?: number;
  /** Refuse every number that is not written as plain digits below 2^53 (no sign, point or exponent). */
  readonly naturalsOnly?: boolean;
}

/**
 * The value of `text`. Rejects trailing characters, duplicate keys, unpaired surrogates and numbers that overflow to
 * infinity.
 */
export function parseJson(text: string, options: JsonOptions): JsonValue {
  const parser = new Parser(text, options);
  const value = parser.value(0);
  parser.end();
  return value;
}

/**
 * UTF-8 bytes to text; a FormatError for bytes that are not UTF-8. A byte order mark is kept, so that the JSON reader
 * refuses it.
 */
export function decodeUtf8(bytes: Uint8Array, format: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw new FormatError(format, 'the text is not valid UTF-8');
    throw error;
  }
}

/** Plain objects and arrays of `value`, for JSON.stringify; keys become own properties, `__proto__` included. */
export function toPlain(value: JsonValue): unknown {
  if (value instanceof Map) {
    const out: Record<string, unknown> = {};
    for (const [key, item] of value as JsonObject) {
      Object.defineProperty(out, key, { value: toPlain(item), enumerable: true, configurable: true, writable: true });
    }
    return out;
  }
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map(toPlain);
  return value;
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return value instanceof Map;
}

export function isArray(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value);
}

/** A piece of foreign text for an error message: quoted, escaped, at most 60 characters. */
export function quote(text: string): string {
  return visibleJson(text.length > 60 ? `${text.slice(0, 57)}...` : text);
}

/** The same for an address, whole up to 300 characters; of a longer one both ends show: either may say where it is. */
export function quoteAddress(text: string): string {
  return visibleJson(text.length > 300 ? `${text.slice(0, 148)}...${text.slice(-149)}` : text);
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);
// Sticky, so that one match starts exactly at the cursor.
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const PLAIN_CHARACTERS = /[^"\\\u0000-\u001f]*/y;
const HEX4 = /[0-9a-fA-F]{4}/y;

class Parser {
  readonly #text: string;
  readonly #options: JsonOptions;
  readonly #maxDepth: number;
  #at = 0;

  constructor(text: string, options: JsonOptions) {
    this.#text = text;
    this.#options = options;
    this.#maxDepth = options.maxDepth ?? 16;
  }

  value(depth: number): JsonValue {
    this.#skipSpace();
    const c = this.#text[this.#at];
    if (c === '{') return this.#object(depth + 1);
    if (c === '[') return this.#array(depth + 1);
    if (c === '"') return this.#string();
    if (this.#word('true')) return true;
    if (this.#word('false')) return false;
    if (this.#word('null')) return null;
    return this.#number();
  }

  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#fail('expected the end of the text');
  }

  #object(depth: number): JsonObject {
    this.#enter(depth);
    const out = new Map<string, JsonValue>();
    if (this.#take('}')) return out;
    do {
      this.#skipSpace();
      if (this.#text[this.#at] !== '"') this.#fail('expected a key in quotes');
      const key = this.#string();
      if (out.has(key)) this.#fail(`the key ${quote(key)} stands twice in one object`);
      if (!this.#take(':')) this.#fail(`expected a colon after the key ${quote(key)}`);
      out.set(key, this.value(depth));
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail('expected a comma or a closing brace');
    return out;
  }

  #array(depth: number): readonly JsonValue[] {
    this.#enter(depth);
    const out: JsonValue[] = [];
    if (this.#take(']')) return out;
    do out.push(this.value(depth));
    while (this.#take(','));
    if (!this.#take(']')) this.#fail('expected a comma or a closing bracket');
    return out;
  }

  #string(): string {
    this.#at++;
    let out = '';
    for (;;) {
      out += this.#match(PLAIN_CHARACTERS);
      const c = this.#text[this.#at++];
      if (c === '"') break;
      if (c !== '\\')
        this.#fail(c === undefined ? 'the text ends inside a string' : 'a control character stands inside a string');
      const escape = this.#text[this.#at++] ?? '';
      if (escape === 'u') {
        const hex = this.#match(HEX4);
        if (hex === '') this.#fail('expected four hexadecimal digits');
        out += String.fromCharCode(parseInt(hex, 16));
      } else {
        out += ESCAPES.get(escape) ?? this.#fail('an unknown escape in a string');
      }
    }
    if (/[\ud800-\udfff]/u.test(out)) this.#fail('a string holds half of a surrogate pair');
    return out;
  }

  #number(): number {
    const text = this.#match(NUMBER);
    if (text === '') this.#fail('expected a value');
    const value = Number(text);
    if (!Number.isFinite(value)) this.#fail(`the number ${quote(text)} is too large`);
    if (this.#options.naturalsOnly && !(/^[0-9]+$/.test(text) && Number.isSafeInteger(value))) {
      this.#fail(`expected a whole number from 0 to 2^53 - 1, got ${quote(text)}`);
    }
    return value;
  }

  #enter(depth: number): void {
    if (depth > this.#maxDepth) this.#fail(`nested deeper than ${this.#maxDepth} levels`);
    this.#at++;
  }

  #take(c: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== c) return false;
    this.#at++;
    return true;
  }

  #word(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at)) return false;
    this.#at += word.length;
    return true;
  }

  /** Space, tab, line feed, carriage return. Headers of 100 MB pass here: no regular expression. */
  #skipSpace(): void {
    for (; ; this.#at++) {
      const c = this.#text.charCodeAt(this.#at);
      if (c !== 0x20 && c !== 0x09 && c !== 0x0a && c !== 0x0d) return;
    }
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #fail(detail: string): never {
    throw new FormatError(this.#options.format, `JSON at character ${this.#at}: ${detail}`);
  }
}
