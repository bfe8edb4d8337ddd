// A sum of squares in the bins of shaders/optimizer/square-bins.ts: exact until it is read as one number, so the same
// bits come out however the elements were cut over parts, launches and ranks. Of the sum, what is 2^48 times smaller
// than the largest square may be missing.

import { BIN_WORDS, BINS_KEPT } from '../../../shaders/optimizer/square-bins.ts';

/** Units of 2^-23 in a whole. */
const FRACTIONS = 2 ** 23;

export interface SquareSum {
  /** The highest bin; bin b counts in units of 2^(16 b - 254). */
  readonly top: number;
  /** Of the bins top, top - 1, ...; whole numbers that f64 holds exactly, and fractions below 2^23. */
  readonly whole: readonly number[];
  readonly fraction: readonly number[];
}

export const NO_SQUARES: SquareSum = { top: 0, whole: [0, 0, 0, 0], fraction: [0, 0, 0, 0] };

/** Of all parts of one or more launches, and the bits of the largest |x| and |w|. */
export function readBins(words: Uint32Array): {
  readonly squares: SquareSum;
  readonly most: number;
  readonly weights: number;
} {
  const parts: SquareSum[] = [];
  let [most, weights] = [0, 0];
  for (let at = 0; at < words.length; at += BIN_WORDS) {
    parts.push({
      top: words[at]!,
      whole: [...words.subarray(at + 1, at + 1 + BINS_KEPT)],
      fraction: [...words.subarray(at + 1 + BINS_KEPT, at + 1 + 2 * BINS_KEPT)],
    });
    most = Math.max(most, words[at + BIN_WORDS - 2]!);
    weights = Math.max(weights, words[at + BIN_WORDS - 1]!);
  }
  return { squares: addSquares(parts), most, weights };
}

/** The order of `parts` does not matter. */
export function addSquares(parts: readonly SquareSum[]): SquareSum {
  const top = parts.reduce((highest, part) => Math.max(highest, part.top), 0);
  const whole = new Array<number>(BINS_KEPT).fill(0);
  const fraction = new Array<number>(BINS_KEPT).fill(0);
  for (const part of parts) {
    for (let k = 0; k + top - part.top < BINS_KEPT; k++) {
      whole[k + top - part.top]! += part.whole[k]!;
      fraction[k + top - part.top]! += part.fraction[k]!;
    }
  }
  for (let k = 0; k < BINS_KEPT; k++) {
    whole[k]! += Math.floor(fraction[k]! / FRACTIONS);
    fraction[k]! %= FRACTIONS;
  }
  return { top, whole, fraction };
}

/** The sum as f64; up to 2^280, far below what overflows. */
export function valueOf({ top, whole, fraction }: SquareSum): number {
  let sum = 0;
  for (let k = BINS_KEPT - 1; k >= 0; k--) sum += (whole[k]! + fraction[k]! / FRACTIONS) * 2 ** (16 * (top - k) - 254);
  return sum;
}
