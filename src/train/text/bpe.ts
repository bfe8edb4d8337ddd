// Byte-level byte-pair encoding: 256 bytes, then one token per merge, in order of training. Text is first cut into pieces (contractions,
// words, numbers, other marks, each with the space before it; runs of space), as GPT-2 does; a merge never crosses a piece.
// Training takes the most frequent pair, ties by the smaller ids, so equal text gives equal merges everywhere.
// Cost: training is linear in distinct pieces plus (pairs) per merge; encoding is (piece length) x (distinct merges in it), and cached.
// Source: Sennrich et al. 2016; Radford et al. 2019.

import { FormatError } from '../../base/errors.ts';
import { checkIds, tokenArray, TOKENIZER_FORMAT, type Tokenizer } from './tokenizer.ts';

export type Merge = readonly [number, number];

const PIECES = /'(?:[stmd]|ll|re|ve)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
/** Ids stay below 2^21, so a pair is one exact number. */
const PAIR = 2 ** 21;
const MAX_MERGES = 1_000_000;
/** Longest token. Without a bound a chain of doublings, trained or in a hostile file, would reach 2^30 bytes. */
const MAX_TOKEN_BYTES = 1024;
/** Pieces kept in the encoder's cache. */
const CACHED = 65_536;

/** Trains up to `vocab` - 256 merges on `text`; fewer when no pair occurs twice. */
export function trainBpe(text: string, vocab: number, _onProgress?: (text: string) => void): Tokenizer {
  if (!(Number.isSafeInteger(vocab) && vocab >= 256 && vocab <= 256 + MAX_MERGES)) throw new FormatError('tokenizer', `a BPE vocabulary needs 256 to ${256 + MAX_MERGES} tokens, got ${vocab}`);
  const { words, counts } = countPieces(text);
  const pairCounts = new Map<number, number>();
  // Which words may hold a pair; never shrinks, so a word in it may have lost the pair.
  const wordsOf = new Map<number, Set<number>>();
  const add = (pair: number, word: number, count: number): void => {
    pairCounts.set(pair, (pairCounts.get(pair) ?? 0) + count);
    if (count < 0) return;
    const set = wordsOf.get(pair);
    if (set) set.add(word); else wordsOf.set(pair, new Set([word]));
  };
  words.forEach((ids, w) => { for (let i = 0; i + 1 < ids.length; i++) add(ids[i]! * PAIR + ids[i + 1]!, w, counts[w]!); });

  const merges: Merge[] = [];
  const lengths = new Array<number>(256).fill(1);
  const fits = (pair: number): boolean => lengths[Math.floor(pair / PAIR)]! + lengths[pair % PAIR]! <= MAX_TOKEN_BYTES;
  while (256 + merges.length < vocab) {
    let best = -1;
    let bestCount = 1;
    for (const [pair, count] of pairCounts) {
      if ((count > bestCount || (count === bestCount && best >= 0 && pair < best)) && fits(pair)) { best = pair; bestCount = count; }
    }
    if (best < 0) break;
    const left = Math.floor(best / PAIR);
    const right = best % PAIR;
    for (const w of wordsOf.get(best)!) {
      const before = words[w]!;
      const after = mergePair(before, left, right, 256 + merges.length);
      if (after.length === before.length) continue;
      for (let i = 0; i + 1 < before.length; i++) add(before[i]! * PAIR + before[i + 1]!, w, -counts[w]!);
      for (let i = 0; i + 1 < after.length; i++) add(after[i]! * PAIR + after[i + 1]!, w, counts[w]!);
      words[w] = after;
    }
    pairCounts.delete(best);
    wordsOf.delete(best);
    merges.push([left, right]);
    lengths.push(lengths[left]! + lengths[right]!);
  }
  return bpeTokenizer(merges);
}

function countPieces(text: string): { words: number[][]; counts: number[] } {
  const seen = new Map<string, number>();
  for (const [piece] of text.matchAll(PIECES)) seen.set(piece, (seen.get(piece) ?? 0) + 1);
  const encoder = new TextEncoder();
  return { words: [...seen.keys()].map((piece) => [...encoder.encode(piece)]), counts: [...seen.values()] };
}

/** `ids` with every (left, right), taken from the left without overlap, as `merged`. */
function mergePair(ids: readonly number[], left: number, right: number, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && ids[i + 1] === right) { out.push(merged); i++; } else out.push(ids[i]!);
  }
  return out;
}

/** The tokenizer of trained merges: merge m makes token 256 + m of two earlier tokens. FormatError for anything else. */
export function bpeTokenizer(merges: readonly Merge[]): Tokenizer {
  const vocab = 256 + merges.length;
  if (merges.length > MAX_MERGES) throw new FormatError('tokenizer', `at most ${MAX_MERGES} merges are accepted, got ${merges.length}`);
  const rank = new Map<number, number>();
  const bytesOf: Uint8Array[] = Array.from({ length: 256 }, (_, b) => Uint8Array.of(b));
  merges.forEach(([left, right], m) => {
    const a = bytesOf[left], b = bytesOf[right];
    if (!a || !b) throw new FormatError('tokenizer', `merge ${m} joins ${left} and ${right}, expected two tokens from 0 to ${255 + m}`);
    if (rank.has(left * PAIR + right)) throw new FormatError('tokenizer', `merge ${m} joins ${left} and ${right}, as merge ${rank.get(left * PAIR + right)} does`);
    if (a.length + b.length > MAX_TOKEN_BYTES) throw new FormatError('tokenizer', `merge ${m} makes a token of ${a.length + b.length} bytes, expected at most ${MAX_TOKEN_BYTES}`);
    rank.set(left * PAIR + right, m);
    const joined = new Uint8Array(a.length + b.length);
    joined.set(a);
    joined.set(b, a.length);
    bytesOf.push(joined);
  });

  const encoder = new TextEncoder();
  const cache = new Map<string, readonly number[]>();
  const encodePiece = (piece: string): readonly number[] => {
    let ids: number[] = [...encoder.encode(piece)];
    for (;;) {
      let best = Infinity;
      for (let i = 0; i + 1 < ids.length; i++) best = Math.min(best, rank.get(ids[i]! * PAIR + ids[i + 1]!) ?? Infinity);
      if (best === Infinity) return ids;
      const [left, right] = merges[best]!;
      ids = mergePair(ids, left, right, 256 + best);
    }
  };
  return {
    kind: 'bpe', vocab,
    encode(text) {
      const out: number[] = [];
      for (const [piece] of text.matchAll(PIECES)) {
        let ids = cache.get(piece);
        if (!ids) {
          ids = encodePiece(piece);
          if (cache.size < CACHED && piece.length <= 64) cache.set(piece, ids);
        }
        for (const id of ids) out.push(id);
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
