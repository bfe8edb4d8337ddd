// Applies the merges of a byte-pair encoding to one piece: the merge of lowest rank first, of equal ones the leftmost,
// until none applies. With a heap of places, so that a piece of millions of characters takes seconds: O(n log n) time,
// about 30 bytes a symbol.

/** Ids stay below 2^21, so a pair is one exact number. */
export const PAIR = 2 ** 21;
/** A heap entry is rank * 2^32 + place, which is exact for ranks below 2^21. */
const PLACE = 2 ** 32;
/** Symbols of a piece that is merged without a heap. */
const SHORT = 32;

/**
 * `ids` after all merges. `ranks` has the rank of a pair (left * PAIR + right), `mergedOf` the id that a merge makes.
 * A merge may need the result of a merge of higher rank; then it comes after it, as in Hugging Face's tokenizers.
 */
export function mergePiece(
  ids: ArrayLike<number>,
  ranks: ReadonlyMap<number, number>,
  mergedOf: (rank: number) => number,
): ArrayLike<number> {
  const n = ids.length;
  if (n <= SHORT) return mergeShort(ids, ranks, mergedOf);
  const symbols = new Uint32Array(ids);
  const next = new Int32Array(n);
  const previous = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    next[i] = i + 1;
    previous[i] = i - 1;
  }
  next[n - 1] = -1;
  const alive = new Uint8Array(n).fill(1);
  const heap = new PlaceHeap(n);
  const rankAt = (place: number): number | undefined => {
    const after = next[place]!;
    return after < 0 ? undefined : ranks.get(symbols[place]! * PAIR + symbols[after]!);
  };
  const offer = (place: number): void => {
    const rank = rankAt(place);
    if (rank !== undefined) heap.push(rank * PLACE + place);
  };
  for (let i = 0; i < n; i++) offer(i);
  let left = n;
  for (let entry = heap.pop(); entry >= 0; entry = heap.pop()) {
    const rank = Math.floor(entry / PLACE);
    const place = entry % PLACE;
    // What stood here when the entry was made may have been merged since.
    if (alive[place] === 0 || rankAt(place) !== rank) continue;
    const gone = next[place]!;
    const after = next[gone]!;
    symbols[place] = mergedOf(rank);
    alive[gone] = 0;
    next[place] = after;
    if (after >= 0) previous[after] = place;
    left--;
    if (previous[place]! >= 0) offer(previous[place]!);
    offer(place);
  }
  const out = new Uint32Array(left);
  for (let i = 0, at = 0; at < left; i = next[i]!) out[at++] = symbols[i]!;
  return out;
}

/** The same for the pieces that most are: arrays of their own would cost more than looking through all pairs. */
function mergeShort(
  ids: ArrayLike<number>,
  ranks: ReadonlyMap<number, number>,
  mergedOf: (rank: number) => number,
): readonly number[] {
  const symbols = Array.from(ids);
  for (;;) {
    let best = Infinity;
    let place = -1;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const rank = ranks.get(symbols[i]! * PAIR + symbols[i + 1]!);
      if (rank !== undefined && rank < best) {
        best = rank;
        place = i;
      }
    }
    if (place < 0) return symbols;
    symbols.splice(place, 2, mergedOf(best));
  }
}

/** A binary heap of numbers of at least 0, the smallest first. */
class PlaceHeap {
  #items: Float64Array;
  #size = 0;

  constructor(capacity: number) {
    this.#items = new Float64Array(Math.max(16, capacity));
  }

  push(item: number): void {
    if (this.#size === this.#items.length) {
      const grown = new Float64Array(2 * this.#size);
      grown.set(this.#items);
      this.#items = grown;
    }
    const items = this.#items;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  /** -1 when empty. */
  pop(): number {
    if (this.#size === 0) return -1;
    const items = this.#items;
    const top = items[0]!;
    const last = items[--this.#size]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= last) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
