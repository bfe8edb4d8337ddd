// Tokenizers by name ('bytes', 'chars', 'bpe:1000') and as files: ours, or a tokenizer.json of Hugging Face with its
// tokenizer_config.json. Reading ours is strict: anything but a well-formed file of one of the kinds is a FormatError,
// and one of 4 MiB or more is refused before it is parsed. Inside a checkpoint both files of Hugging Face are strings
// in one file of ours.

import { ConfigError, FormatError } from '../../base/errors.ts';
import { isArray, isObject, parseJson, quote } from '../../base/json.ts';
import { bpeTokenizer, trainBpe, type Merge } from './bpe.ts';
import { TOKENIZER_JSON } from './huggingface-json.ts';
import { huggingFaceTokenizer } from './huggingface.ts';
import { byteTokenizer, charTokenizer, TOKENIZER_FORMAT, type Tokenizer } from './tokenizer.ts';

/** Names in a model folder: ours, and Hugging Face's. */
export const TOKENIZER_FILE = 'tokenizer.tabmesh.json';
export const TOKENIZER_CONFIG = 'tokenizer_config.json';

const FORMAT = 'tokenizer';
const OURS = /^\s*\{\s*"format"\s*:/;
const WRAPPED = /^\{"format":"tabmesh-tokenizer\/1","kind":"huggingface",/;
const MAX_CHARACTERS = 4 << 20;

/** The text of a tokenizer file. */
export function formatTokenizer(tokenizer: Tokenizer): string {
  return `${JSON.stringify(tokenizer.toJSON())}\n`;
}

/** The files that a model folder gets, by name. */
export function tokenizerFiles(tokenizer: Tokenizer): ReadonlyMap<string, string> {
  const json = tokenizer.toJSON();
  if (json.kind !== 'huggingface') return new Map([[TOKENIZER_FILE, formatTokenizer(tokenizer)]]);
  return new Map([
    [TOKENIZER_JSON, json.tokenizer],
    ...(json.config === undefined ? [] : [[TOKENIZER_CONFIG, json.config] as const]),
  ]);
}

/** A file of ours, or a tokenizer.json; `config` is the tokenizer_config.json beside the latter. */
export function parseTokenizer(text: string, config?: string): Tokenizer {
  if (WRAPPED.test(text)) return parseWrapped(text);
  if (!OURS.test(text) && isHuggingFace(text)) return huggingFaceTokenizer(text, config);
  return parseOwn(text);
}

function parseWrapped(text: string): Tokenizer {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new FormatError(FORMAT, `is no JSON (${String(error)})`);
  }
  const { tokenizer, config, ...rest } = json as { tokenizer?: unknown; config?: unknown };
  if (
    typeof tokenizer !== 'string' ||
    (config !== undefined && typeof config !== 'string') ||
    Object.keys(rest).length !== 2
  )
    throw new FormatError(FORMAT, 'expected the texts of tokenizer.json and tokenizer_config.json');
  return huggingFaceTokenizer(tokenizer, config);
}

function isHuggingFace(text: string): boolean {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null && 'model' in json && !('format' in json);
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

function parseOwn(text: string): Tokenizer {
  if (text.length >= MAX_CHARACTERS)
    throw new FormatError(FORMAT, `expected less than ${MAX_CHARACTERS} characters, got ${text.length}`);
  const json = parseJson(text, { format: FORMAT, maxDepth: 3 });
  if (!isObject(json) || json.get('format') !== TOKENIZER_FORMAT)
    throw new FormatError(FORMAT, `expected an object with format ${quote(TOKENIZER_FORMAT)}`);
  const kind = json.get('kind');
  const field = kind === 'chars' ? 'characters' : kind === 'bpe' ? 'merges' : undefined;
  for (const key of json.keys())
    if (key !== 'format' && key !== 'kind' && key !== field)
      throw new FormatError(FORMAT, `unknown field ${quote(key)}`);
  if (kind === 'bytes') return byteTokenizer();
  if (kind === 'chars') {
    const characters = json.get('characters');
    if (typeof characters !== 'string') throw new FormatError(FORMAT, 'characters must be a string');
    const tokenizer = charTokenizer(characters);
    // The ids are the places in the string: sorted and without repetition is the one order we write.
    if (tokenizer.decode(Uint32Array.from({ length: tokenizer.vocab }, (_, i) => i)) !== characters)
      throw new FormatError(FORMAT, 'characters must stand once each, in the order of their code points');
    return tokenizer;
  }
  if (kind === 'bpe') {
    const merges = json.get('merges');
    if (!isArray(merges)) throw new FormatError(FORMAT, 'merges must be a list');
    return bpeTokenizer(
      merges.map((merge, m): Merge => {
        const [left, right] = isArray(merge) && merge.length === 2 ? merge : [];
        if (!Number.isSafeInteger(left) || !Number.isSafeInteger(right))
          throw new FormatError(FORMAT, `merge ${m} must be two whole numbers`);
        return [left as number, right as number];
      }),
    );
  }
  throw new FormatError(FORMAT, 'kind must be bytes, chars or bpe');
}

/** The tokenizer that a run asks for, trained on `text` where it needs training. */
export function makeTokenizer(name: string, text: string, onProgress?: (text: string) => void): Tokenizer {
  if (name === 'bytes') return byteTokenizer();
  if (name === 'chars') return charTokenizer(text);
  const vocab = /^bpe:([1-9][0-9]{2,4})$/.exec(name)?.[1];
  if (vocab === undefined || Number(vocab) < 256 || Number(vocab) > 65_536)
    throw new ConfigError(
      'tokenizer',
      `expected auto, bytes, chars or bpe:N with N from 256 to 65536 tokens, got ${quote(name)}`,
    );
  return trainBpe(text, Number(vocab), onProgress);
}
