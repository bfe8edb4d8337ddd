// Byte-level byte-pair encoding: 256 bytes, then one token per merge, in order of training. Text is first cut into
// pieces (contractions, words, numbers, other marks, each with the space before it; runs of space), as GPT-2 does; a
// merge never crosses a piece. Training is in bpe-training.ts. Cost of encoding: O(n log n) per distinct piece of n
// bytes, and cached. Source: Sennrich et al. 2016; Radford et al. 2019.

import { FormatError } from '../../base/errors.ts';
import { trainMerges } from './bpe-training.ts';
import { mergePiece, PAIR } from './merge-pieces.ts';
import { MAX_TOKEN_BYTES, piecesOf } from './pieces.ts';
import { checkIds, tokenArray, TOKENIZER_FORMAT, type Tokenizer } from './tokenizer.ts';

export type Merge = readonly [number, number];

const MAX_MERGES = 1_000_000;
/** Pieces kept in the encoder's cache. */
const CACHED = 65_536;

/**
 * Trains up to `vocab` - 256 merges on `text`; fewer when no pair occurs twice. `onProgress` hears of it now and then.
 */
export function trainBpe(text: string, vocab: number, onProgress?: (text: string) => void): Tokenizer {
  if (!(Number.isSafeInteger(vocab) && vocab >= 256 && vocab <= 256 + MAX_MERGES))
    throw new FormatError('tokenizer', `a BPE vocabulary needs 256 to ${256 + MAX_MERGES} tokens, got ${vocab}`);
  return bpeTokenizer(trainMerges(text, vocab - 256, onProgress));
}

/**
 * The tokenizer of trained merges: merge m makes token 256 + m of two earlier tokens. FormatError for anything else.
 */
export function bpeTokenizer(merges: readonly Merge[]): Tokenizer {
  const vocab = 256 + merges.length;
  if (merges.length > MAX_MERGES)
    throw new FormatError('tokenizer', `at most ${MAX_MERGES} merges are accepted, got ${merges.length}`);
  const rank = new Map<number, number>();
  const bytesOf: Uint8Array[] = Array.from({ length: 256 }, (_, b) => Uint8Array.of(b));
  merges.forEach(([left, right], m) => {
    const a = bytesOf[left],
      b = bytesOf[right];
    if (!a || !b)
      throw new FormatError(
        'tokenizer',
        `merge ${m} joins ${left} and ${right}, expected two tokens from 0 to ${255 + m}`,
      );
    if (rank.has(left * PAIR + right))
      throw new FormatError(
        'tokenizer',
        `merge ${m} joins ${left} and ${right}, as merge ${rank.get(left * PAIR + right)} does`,
      );
    if (a.length + b.length > MAX_TOKEN_BYTES)
      throw new FormatError(
        'tokenizer',
        `merge ${m} makes a token of ${a.length + b.length} bytes, expected at most ${MAX_TOKEN_BYTES}`,
      );
    rank.set(left * PAIR + right, m);
    const joined = new Uint8Array(a.length + b.length);
    joined.set(a);
    joined.set(b, a.length);
    bytesOf.push(joined);
  });

  const encoder = new TextEncoder();
  const cache = new Map<string, ArrayLike<number>>();
  const encodePiece = (piece: string): ArrayLike<number> =>
    mergePiece(encoder.encode(piece), rank, (best) => 256 + best);
  return {
    kind: 'bpe',
    vocab,
    encode(text) {
      const out: number[] = [];
      for (const piece of piecesOf(text)) {
        let ids = cache.get(piece);
        if (!ids) {
          ids = encodePiece(piece);
          if (cache.size < CACHED && piece.length <= 64) cache.set(piece, ids);
        }
        for (let i = 0; i < ids.length; i++) out.push(ids[i]!);
      }
      return tokenArray(vocab, out);
    },
    decode(ids) {
      checkIds(ids, vocab);
      let length = 0;
      for (let i = 0; i < ids.length; i++) length += bytesOf[ids[i]!]!.length;
      const bytes = new Uint8Array(length);
      for (let i = 0, at = 0; i < ids.length; at += bytesOf[ids[i++]!]!.length) bytes.set(bytesOf[ids[i]!]!, at);
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    },
    toJSON: () => ({ format: TOKENIZER_FORMAT, kind: 'bpe', merges }),
  };
}
