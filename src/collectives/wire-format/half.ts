// f16 (IEEE binary16) and bf16 (the upper half of f32), two to a u32 word, the first in the low half. Rounding is to nearest, ties to even.
// Error: f16 |x| * 2^-11 from 2^-14 to 65504, 2^-25 absolute below, infinite from 65520; bf16 |x| * 2^-8, with the range of f32. Infinity and NaN stay what they are.

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

export function fromHalf(half: number): number {
  const exponent = (half >>> 10) & 31;
  const mantissa = half & 1023;
  const size = exponent === 0 ? mantissa * 2 ** -24 : exponent === 31 ? (mantissa ? NaN : Infinity) : (1024 + mantissa) * 2 ** (exponent - 25);
  return half & 0x8000 ? -size : size;
}

/** All 65536 halves as f32, made when first needed: a lookup is several times quicker than the arithmetic. */
let halves: Float32Array | undefined;

export function encodeHalf(x: Float32Array, words: Uint32Array): void {
  const pairs = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
  for (let i = 0; i < x.length; i++) pairs[i] = toHalf(x[i]);
  if (x.length % 2) pairs[x.length] = 0;
}

export function decodeHalf(words: Uint32Array, out: Float32Array): void {
  halves ??= Float32Array.from({ length: 65536 }, (_, half) => fromHalf(half));
  const pairs = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
  for (let i = 0; i < out.length; i++) out[i] = halves[pairs[i]];
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
