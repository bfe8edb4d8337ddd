// Tokenizers by name ('bytes', 'chars', 'bpe:1000') and as files. Reading is strict: anything but a well-formed file of one of the three
// kinds is a FormatError, and a file of 4 MiB or more is refused before it is parsed.

import { ConfigError, FormatError } from '../../base/errors.ts';
import { isArray, isObject, parseJson, quote } from '../../base/json.ts';
import { bpeTokenizer, trainBpe, type Merge } from './bpe.ts';
import { byteTokenizer, charTokenizer, TOKENIZER_FORMAT, type Tokenizer } from './tokenizer.ts';

const FORMAT = 'tokenizer';
const MAX_CHARACTERS = 4 << 20;

/** The text of a tokenizer file. */
export function formatTokenizer(tokenizer: Tokenizer): string {
  return `${JSON.stringify(tokenizer.toJSON())}\n`;
}

export function parseTokenizer(text: string): Tokenizer {
  if (text.length >= MAX_CHARACTERS) throw new FormatError(FORMAT, `expected less than ${MAX_CHARACTERS} characters, got ${text.length}`);
  const json = parseJson(text, { format: FORMAT, maxDepth: 3 });
  if (!isObject(json) || json.get('format') !== TOKENIZER_FORMAT) throw new FormatError(FORMAT, `expected an object with format ${quote(TOKENIZER_FORMAT)}`);
  const kind = json.get('kind');
  const field = kind === 'chars' ? 'characters' : kind === 'bpe' ? 'merges' : undefined;
  for (const key of json.keys()) if (key !== 'format' && key !== 'kind' && key !== field) throw new FormatError(FORMAT, `unknown field ${quote(key)}`);
  if (kind === 'bytes') return byteTokenizer();
  if (kind === 'chars') {
    const characters = json.get('characters');
    if (typeof characters !== 'string') throw new FormatError(FORMAT, 'characters must be a string');
    const tokenizer = charTokenizer(characters);
    // The ids are the places in the string: sorted and without repetition is the one order we write.
    if (tokenizer.decode(Uint32Array.from({ length: tokenizer.vocab }, (_, i) => i)) !== characters) throw new FormatError(FORMAT, 'characters must stand once each, in the order of their code points');
    return tokenizer;
  }
  if (kind === 'bpe') {
    const merges = json.get('merges');
    if (!isArray(merges)) throw new FormatError(FORMAT, 'merges must be a list');
    return bpeTokenizer(merges.map((merge, m): Merge => {
      const [left, right] = isArray(merge) && merge.length === 2 ? merge : [];
      if (!Number.isSafeInteger(left) || !Number.isSafeInteger(right)) throw new FormatError(FORMAT, `merge ${m} must be two whole numbers`);
      return [left as number, right as number];
    }));
  }
  throw new FormatError(FORMAT, 'kind must be bytes, chars or bpe');
}

/** The tokenizer that a run asks for, trained on `text` where it needs training. */
export function makeTokenizer(name: string, text: string): Tokenizer {
  if (name === 'bytes') return byteTokenizer();
  if (name === 'chars') return charTokenizer(text);
  const vocab = /^bpe:([1-9][0-9]{2,4})$/.exec(name)?.[1];
  if (vocab === undefined || Number(vocab) < 256 || Number(vocab) > 65_536) throw new ConfigError('tokenizer', `expected bytes, chars or bpe:N with N from 256 to 65536 tokens, got ${quote(name)}`);
  return trainBpe(text, Number(vocab));
}
