// Text to token ids and back: the interface, and the two tokenizers that need no training.
// decode(encode(text)) is text for every well-formed string. Bytes: 256 tokens, any text. Characters: the code points
// of a given text, sorted; any other character is an error. BPE is in bpe.ts, Hugging Face's in huggingface.ts, reading
// any of them from a file in tokenizer-file.ts.

import { FormatError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';

export type Tokens = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

export interface Tokenizer {
  readonly kind: 'bytes' | 'chars' | 'bpe' | 'huggingface';
  /** Ids are 0 to vocab - 1. */
  readonly vocab: number;
  /** Tokens that stand before a text from its beginning, such as <s>; a prompt begins with them. */
  readonly prefix?: readonly number[];
  /** Uint16Array where the vocabulary allows it. */
  encode(text: string): Tokens;
  /**
   * Bytes that are no UTF-8 (a sample may stop inside a character) become U+FFFD. A FormatError for ids outside the
   * vocabulary.
   */
  decode(ids: ArrayLike<number>): string;
  /** What tokenizer-file.ts reads back. */
  toJSON(): TokenizerJson;
}

export const TOKENIZER_FORMAT = 'tabmesh-tokenizer/1';
export type TokenizerJson =
  | { readonly format: typeof TOKENIZER_FORMAT; readonly kind: 'bytes' }
  | { readonly format: typeof TOKENIZER_FORMAT; readonly kind: 'chars'; readonly characters: string }
  | {
      readonly format: typeof TOKENIZER_FORMAT;
      readonly kind: 'bpe';
      readonly merges: readonly (readonly [number, number])[];
    }
  /** The texts of tokenizer.json and tokenizer_config.json as they were found. */
  | {
      readonly format: typeof TOKENIZER_FORMAT;
      readonly kind: 'huggingface';
      readonly tokenizer: string;
      readonly config?: string;
    };

export function tokenArray(vocab: number, ids: ArrayLike<number>): Tokens {
  return vocab <= 65536 ? new Uint16Array(ids) : new Uint32Array(ids);
}

export function checkIds(ids: ArrayLike<number>, vocab: number): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!(Number.isInteger(id) && id >= 0 && id < vocab))
      throw new FormatError('tokenizer', `token ${i} is ${id}, expected 0 to ${vocab - 1}`);
  }
}

/** UTF-8 bytes as tokens. */
export function byteTokenizer(): Tokenizer {
  return {
    kind: 'bytes',
    vocab: 256,
    encode: (text) => new Uint16Array(new TextEncoder().encode(text)),
    decode(ids) {
      checkIds(ids, 256);
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(ids));
    },
    toJSON: () => ({ format: TOKENIZER_FORMAT, kind: 'bytes' }),
  };
}

/** One token per code point that occurs in `text`, in the order of the code points. */
export function charTokenizer(text: string): Tokenizer {
  const characters = [...new Set(text)].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  if (characters.length === 0)
    throw new FormatError('tokenizer', 'a character tokenizer needs a text with at least one character');
  const idOf = new Map(characters.map((c, id) => [c, id]));
  const vocab = characters.length;
  return {
    kind: 'chars',
    vocab,
    encode(text) {
      const ids: number[] = [];
      for (const c of text) {
        const id = idOf.get(c);
        if (id === undefined)
          throw new FormatError(
            'tokenizer',
            `the character ${quote(c)} is not among the ${vocab} that this model knows; leave it out or train with the byte or bpe tokenizer`,
          );
        ids.push(id);
      }
      return tokenArray(vocab, ids);
    },
    decode(ids) {
      checkIds(ids, vocab);
      let out = '';
      for (let i = 0; i < ids.length; i++) out += characters[ids[i]!]!;
      return out;
    },
    toJSON: () => ({ format: TOKENIZER_FORMAT, kind: 'chars', characters: characters.join('') }),
  };
}
