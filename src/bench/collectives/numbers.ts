// The numbers that the collectives move: small integers, so that a sum over any number of ranks is exact in f32
// whatever its order (the trick of nccl-tests), different for each rank, place and round, so that a swapped, stale or
// shifted piece shows. The comparison has tolerance 0.

type F32 = Float32Array<ArrayBuffer>;

/** A prime: shifts by whole frames and pieces do not repeat it. Sums stay below 2^24 up to 2048 ranks. */
const MODULUS = 8191;

/** The number at `index` of the array of `rank` in round `salt`. */
export function valueAt(rank: number, index: number, salt: number): number {
  return (index * (2 * rank + 3) + Math.floor(index / 4096) * 7 + salt * 101 + rank * 977) % MODULUS;
}

/** The array of `rank`, elements from `start` on. */
export function valuesOf(rank: number, count: number, salt: number, start = 0): F32 {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = valueAt(rank, start + i, salt);
  return values;
}

/**
 * How many elements are not exactly as expected; NaN never is. `expected` by index from 0; `length` elements must be
 * there.
 */
export function countWrong(got: ArrayLike<number>, length: number, expected: (index: number) => number): number {
  let wrong = Math.abs(got.length - length);
  for (let i = 0; i < Math.min(length, got.length); i++) if (got[i] !== expected(i)) wrong++;
  return wrong;
}

/** Sum over all ranks at one index. */
export function sumAt(ranks: number, index: number, salt: number): number {
  let sum = 0;
  for (let rank = 0; rank < ranks; rank++) sum += valueAt(rank, index, salt);
  return sum;
}
