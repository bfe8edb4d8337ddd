// Philox4x32-10, a counter-based generator: block(key, counter) is a pure function, so element i of a named stream has
// the same bits whoever draws it. Every shard of a weight is drawn at the element's index in the whole weight: all
// layouts start equal. The logarithm, sine and cosine are our own, because engines differ in the last bit of Math.log,
// Math.sin and Math.cos. Cost: 10 rounds per 4 words. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011; Box and Muller 1958.

import { ConfigError } from './errors.ts';

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** The upper 32 bits of the product of two u32. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff,
    aHigh = a >>> 16,
    bLow = b & 0xffff,
    bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const cross = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(cross / 65536)) >>> 0;
}

/**
 * One block: `out` (4 u32) from a 128-bit counter (4 u32, least significant first) and a 64-bit key. Aliasing is
 * allowed.
 */
export function philox4x32(
  out: Uint32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  key0: number,
  key1: number,
): void {
  let k0 = key0 >>> 0;
  let k1 = key1 >>> 0;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0),
      low0 = Math.imul(M0, c0);
    const high1 = mulHigh(M1, c2),
      low1 = Math.imul(M1, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** A stream's 64-bit id: two FNV-1a hashes of the name's UTF-16 units, each finished with an avalanche. */
export function streamId(name: string): readonly [number, number] {
  let a = 0x811c9dc5;
  let b = 0x050c5d1f;
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    a = Math.imul(a ^ c, 0x01000193);
    b = Math.imul(b ^ c, 0x01000193) ^ (b >>> 15);
  }
  return [avalanche(a), avalanche(b ^ 0x5bd1e995)];
}

function avalanche(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * The draws of one (seed, stream name). Give every use its own name: uniforms and normals of one stream share their
 * bits.
 */
export class RandomStream {
  readonly #key0: number;
  readonly #key1: number;
  readonly #id: readonly [number, number];
  readonly #words = new Uint32Array(4);
  #block = -1;

  /** `seed` is a whole number below 2^53. */
  constructor(seed: number, stream: string) {
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new ConfigError('seed', `expected a whole number from 0 to 2^53 - 1, got ${seed}`);
    this.#key0 = seed >>> 0;
    this.#key1 = Math.floor(seed / 2 ** 32);
    this.#id = streamId(stream);
  }

  /** Word `index` of the stream, a u32. */
  u32(index: number): number {
    this.#seek(Math.floor(index / 4));
    return this.#words[index % 4]!;
  }

  /** Uniform in [0, 1), a multiple of 2^-32. */
  uniform(index: number): number {
    return this.u32(index) * 2 ** -32;
  }

  /** Uniform whole number in [0, n), n at most 2^32. Bias below n / 2^32. */
  integer(index: number, n: number): number {
    return Math.floor(this.uniform(index) * n);
  }

  /**
   * Standard normal as f64; at most 6.66 in magnitude. Elements 2i and 2i + 1 are the two halves of one Box-Muller
   * pair.
   */
  normal(index: number): number {
    const pair = (index % 4) & 2;
    this.#seek(Math.floor(index / 4));
    const radius = Math.sqrt(-2 * naturalLog((this.#words[pair]! + 1) * 2 ** -32));
    const turn = this.#words[pair + 1]! * 2 ** -32;
    return radius * (index % 2 ? sineOfTurn(turn) : sineOfTurn(turn + 0.25));
  }

  #seek(block: number): void {
    if (block === this.#block) return;
    philox4x32(this.#words, block >>> 0, Math.floor(block / 2 ** 32), this.#id[0], this.#id[1], this.#key0, this.#key1);
    this.#block = block;
  }
}

/** Four u32 of block `counter` (below 2^53) of a stream. */
export function philox(seed: number, stream: string, counter: number): Uint32Array<ArrayBuffer> {
  const random = new RandomStream(seed, stream);
  return Uint32Array.from([0, 1, 2, 3], (i) => random.u32(counter * 4 + i));
}

/** One draw; make a RandomStream where many are needed. */
export function uniformAt(seed: number, stream: string, index: number): number {
  return new RandomStream(seed, stream).uniform(index);
}

export function normalAt(seed: number, stream: string, index: number): number {
  return new RandomStream(seed, stream).normal(index);
}

/** Assigns out[i] = std * normal(firstIndex + i), rounded to f32. */
export function fillNormal(out: Float32Array, seed: number, stream: string, firstIndex: number, std: number): void {
  const random = new RandomStream(seed, stream);
  for (let i = 0; i < out.length; i++) out[i] = std * random.normal(firstIndex + i);
}

/**
 * ln x for 0 < x <= 1 that is a multiple of 2^-32, within 1e-15: x = m 2^e with m in [sqrt 1/2, sqrt 2), ln m = 2
 * atanh((m-1)/(m+1)).
 */
export function naturalLog(x: number): number {
  let exponent = 0;
  while (x < 2 ** -8) {
    x *= 256;
    exponent -= 8;
  }
  while (x < Math.SQRT1_2) {
    x *= 2;
    exponent--;
  }
  const s = (x - 1) / (x + 1);
  const s2 = s * s;
  let sum = 0;
  for (let k = 23; k >= 1; k -= 2) sum = sum * s2 + 1 / k;
  return 2 * s * sum + exponent * Math.LN2;
}

/** sin(2 pi t) for 0 <= t < 1.5, within 1e-15: folded to a quarter turn, then the power series. */
export function sineOfTurn(t: number): number {
  let r = t >= 1 ? t - 1 : t;
  let sign = 1;
  if (r >= 0.5) {
    r -= 0.5;
    sign = -1;
  }
  if (r > 0.25) r = 0.5 - r;
  const x = 2 * Math.PI * r;
  const x2 = x * x;
  let sum = 0;
  for (let k = 21; k >= 3; k -= 2) sum = (1 + sum) * (-x2 / (k * (k - 1)));
  return sign * x * (1 + sum);
}
