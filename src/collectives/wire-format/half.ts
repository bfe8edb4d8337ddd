// f16 (IEEE binary16) and bf16 (the upper half of f32), two to a u32 word, the first in the low half. Rounding is to
// nearest, ties to even. Error: f16 |x| * 2^-11 from 2^-14 to 65504, 2^-25 absolute below, infinite from 65520; bf16
// |x| * 2^-8, with the range of f32. Infinity and NaN stay what they are.

const FLOAT = new Float32Array(1);
const BITS = new Uint32Array(FLOAT.buffer);

/** The 16 bits of x as binary16. */
export function toHalf(x: number): number {
  FLOAT[0] = x;
  const bits = BITS[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  // The carry of the rounding runs into the exponent, which is right.
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  if (magnitude < 0x33000000) return sign;
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  return sign | ((mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift);
}

export function encodeHalf(x: Float32Array, words: Uint32Array): void {
  const pairs = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
  for (let i = 0; i < x.length; i++) pairs[i] = toHalf(x[i]);
  if (x.length % 2) pairs[x.length] = 0;
}

/**
 * Exponent and mantissa take their places in an f32 whose exponent is then too small by 112, also for a subnormal half.
 * No table: it would be 256 KB, made with several times as much at the first frame of a peer, to save 2 ms of every
 * million numbers.
 */
export function decodeHalf(words: Uint32Array, out: Float32Array): void {
  const pairs = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < out.length; i++) {
    const half = pairs[i];
    bits[i] = (half & 0x7fff) << 13;
    out[i] *= 2 ** 112;
    if ((half & 0x7c00) === 0x7c00) bits[i] = 0x7f800000 | ((half & 0x3ff) << 13);
    bits[i] |= (half & 0x8000) << 16;
  }
}

export function encodeBrain(x: Float32Array, words: Uint32Array): void {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  const pairs = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
  for (let i = 0; i < x.length; i++) {
    const b = bits[i];
    pairs[i] = (b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  if (x.length % 2) pairs[x.length] = 0;
}

export function decodeBrain(words: Uint32Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  const pairs = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
  for (let i = 0; i < out.length; i++) bits[i] = pairs[i] << 16;
}
