// Learns the merges of a byte-pair encoding. The text's distinct pieces lie one behind the other as linked lists of
// tokens; each pair knows where it stands, and a heap knows the most frequent pair. A merge touches only the places of
// its pair, so all merges together cost O(n log n) for n bytes of distinct pieces, also where one piece has millions of
// characters. Memory: about 20 bytes a byte of distinct pieces. Takes the most frequent pair, ties by the smaller ids,
// so equal text gives equal merges everywhere.

import { PAIR } from './merge-pieces.ts';
import { MAX_TOKEN_BYTES, piecesOf } from './pieces.ts';

/** Characters of a text that takes so long that it is told. */
const LONG_TEXT = 1_000_000;

/** Up to `count` merges of `text`; fewer when no pair stands twice. Token 256 + m comes from merge m. */
export function trainMerges(
  text: string,
  count: number,
  onProgress?: (text: string) => void,
): (readonly [number, number])[] {
  const tell = text.length < LONG_TEXT ? undefined : onProgress;
  tell?.('BPE: cutting the text into pieces');
  const words = new Words(text);
  const lengths = new Array<number>(256).fill(1);
  const heap = new PairHeap(words.counts);
  for (const pair of words.counts.keys()) heap.push(pair);
  const merges: (readonly [number, number])[] = [];
  while (merges.length < count) {
    const pair = heap.pop();
    if (pair === undefined) break;
    const left = Math.floor(pair / PAIR),
      right = pair % PAIR;
    // A pair that would be too long stays unmerged: lengths never change.
    if (lengths[left]! + lengths[right]! > MAX_TOKEN_BYTES) continue;
    for (const grown of words.merge(pair, 256 + merges.length)) heap.push(grown);
    merges.push([left, right]);
    lengths.push(lengths[left]! + lengths[right]!);
    if (merges.length % Math.ceil(count / 10) === 0) tell?.(`BPE: ${merges.length} of ${count} merges`);
  }
  return merges;
}

/** The distinct pieces of a text as tokens, how often each pair of neighbours stands in the text, and where. */
class Words {
  /** How often a pair (left * PAIR + right) stands in the text. */
  readonly counts = new Map<number, number>();
  /**
   * Places of the left token of a pair, ascending; some may have been merged since. Of pairs of bytes, and of pairs
   * with a token that was made.
   */
  readonly #places = new Map<number, ArrayLike<number>>();
  readonly #made = new Map<number, number[]>();
  readonly #tokens: Uint32Array;
  /** -1 at the ends of a piece. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #weights: Uint32Array;

  constructor(text: string) {
    const seen = new Map<string, number>();
    for (const piece of piecesOf(text)) seen.set(piece, (seen.get(piece) ?? 0) + 1);
    const encoder = new TextEncoder();
    const encoded = [...seen.keys()].map((piece) => encoder.encode(piece));
    const size = encoded.reduce((sum, bytes) => sum + bytes.length, 0);
    this.#tokens = new Uint32Array(size);
    this.#next = new Int32Array(size);
    this.#previous = new Int32Array(size);
    this.#weights = new Uint32Array(size);
    let at = 0;
    let word = 0;
    for (const weight of seen.values()) {
      const bytes = encoded[word++]!;
      for (let i = 0; i < bytes.length; i++, at++) {
        this.#tokens[at] = bytes[i]!;
        this.#weights[at] = weight;
        this.#next[at] = i + 1 < bytes.length ? at + 1 : -1;
        this.#previous[at] = i > 0 ? at - 1 : -1;
      }
    }
    this.#findBytePairs();
  }

  /** Counts and places of the pairs of bytes, sorted by counting: there are 65,536 at most. */
  #findBytePairs(): void {
    const [tokens, next] = [this.#tokens, this.#next];
    const ends = new Uint32Array(65_536);
    const sums = new Float64Array(65_536);
    for (let at = 0; at < tokens.length; at++) {
      if (next[at]! < 0) continue;
      const pair = tokens[at]! * 256 + tokens[at + 1]!;
      ends[pair]!++;
      sums[pair]! += this.#weights[at]!;
    }
    for (let pair = 1; pair < ends.length; pair++) ends[pair]! += ends[pair - 1]!;
    const sorted = new Uint32Array(ends.at(-1)!);
    const begins = ends.slice();
    for (let at = tokens.length - 1; at >= 0; at--)
      if (next[at]! >= 0) sorted[--begins[tokens[at]! * 256 + tokens[at + 1]!]!] = at;
    for (let pair = 0; pair < ends.length; pair++) {
      if (ends[pair] === begins[pair]) continue;
      const id = (pair >> 8) * PAIR + (pair & 255);
      this.counts.set(id, sums[pair]!);
      this.#places.set(id, sorted.subarray(begins[pair], ends[pair]));
    }
  }

  /** Replaces every `pair`, from the left, by `merged`; the pairs that this made. */
  merge(pair: number, merged: number): Iterable<number> {
    const [tokens, next, previous] = [this.#tokens, this.#next, this.#previous];
    const left = Math.floor(pair / PAIR),
      right = pair % PAIR;
    const made = new Set<number>();
    const places = this.#places.get(pair) ?? this.#made.get(pair) ?? [];
    this.#places.delete(pair);
    this.#made.delete(pair);
    for (let i = 0; i < places.length; i++) {
      const place = places[i]!;
      const gone = next[place]!;
      if (gone < 0 || tokens[place] !== left || tokens[gone] !== right) continue;
      const before = previous[place]!,
        after = next[gone]!,
        weight = this.#weights[place]!;
      if (before >= 0) this.#remove(tokens[before]! * PAIR + left, weight);
      if (after >= 0) this.#remove(right * PAIR + tokens[after]!, weight);
      tokens[place] = merged;
      // No token: an old place that points here is passed over.
      tokens[gone] = GONE;
      next[place] = after;
      if (after >= 0) previous[after] = place;
      if (before >= 0) made.add(this.#add(before, tokens[before]! * PAIR + merged));
      if (after >= 0) made.add(this.#add(place, merged * PAIR + tokens[after]!));
    }
    this.counts.delete(pair);
    return made;
  }

  #add(place: number, pair: number): number {
    this.counts.set(pair, (this.counts.get(pair) ?? 0) + this.#weights[place]!);
    const places = this.#made.get(pair);
    if (places) places.push(place);
    else this.#made.set(pair, [place]);
    return pair;
  }

  #remove(pair: number, weight: number): void {
    const left = (this.counts.get(pair) ?? 0) - weight;
    if (left > 0) this.counts.set(pair, left);
    else this.counts.delete(pair);
  }
}

const GONE = 0xffffffff;

/**
 * The pair that stands most often; of equal ones the smaller. Counts that have sunk since a pair was put in are found
 * out when it comes up.
 */
class PairHeap {
  readonly #counts: ReadonlyMap<number, number>;
  /** Pairs, and their counts when they were put in, as a binary heap. */
  readonly #pairs: number[] = [];
  readonly #values: number[] = [];

  constructor(counts: ReadonlyMap<number, number>) {
    this.#counts = counts;
  }

  push(pair: number): void {
    const value = this.#counts.get(pair) ?? 0;
    // A pair that stands once is no repetition.
    if (value > 1) this.#insert(pair, value);
  }

  /** Undefined if no pair stands twice. */
  pop(): number | undefined {
    while (this.#pairs.length > 0) {
      const [pair, value] = this.#takeTop();
      const now = this.#counts.get(pair) ?? 0;
      if (now === value) return pair;
      // A count that grew was put in again when it did.
      if (now < value && now > 1) this.#insert(pair, now);
    }
    return undefined;
  }

  #insert(pair: number, value: number): void {
    let at = this.#pairs.length;
    this.#pairs.push(pair);
    this.#values.push(value);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(pair, value, parent)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#pairs[at] = pair;
    this.#values[at] = value;
  }

  #takeTop(): readonly [number, number] {
    const top = [this.#pairs[0]!, this.#values[0]!] as const;
    const pair = this.#pairs.pop()!,
      value = this.#values.pop()!;
    const size = this.#pairs.length;
    if (size === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#before(this.#pairs[child + 1]!, this.#values[child + 1]!, child)) child++;
      if (this.#before(pair, value, child)) break;
      this.#move(child, at);
      at = child;
    }
    this.#pairs[at] = pair;
    this.#values[at] = value;
    return top;
  }

  #before(pair: number, value: number, other: number): boolean {
    const others = this.#values[other]!;
    return value > others || (value === others && pair < this.#pairs[other]!);
  }

  #move(from: number, to: number): void {
    this.#pairs[to] = this.#pairs[from]!;
    this.#values[to] = this.#values[from]!;
  }
}
