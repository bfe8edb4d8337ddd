// The sum of squares of x [N] in a form in which the order of adding does not matter, so that any cut of x over threads
// and ranks gives the same bits; and the largest |x| and |w| (w [N] beside it: the weights of the gradients x), by
// which NaN and infinity are seen without asking a float. Both come as bits of f32. Each GROUP (4 or 1) neighbours make
// one square sum in f32, of x times the power of two that brings the largest of them to 1 <= y < 256; that power is the
// group's bin (bin b: exponent fields 8 b to 8 b + 7). The square sum is then an integer of 2^-23 and is added, as
// integer, to the sum of its bin. Kept are the four highest bins that occur: what is 2^48 times smaller than the
// largest square is dropped, which is again no matter of order. Subnormals count as 0. Part p has 11 words for the
// quads p, p + PARTS, ...: top bin, whole parts of the bins top to top - 3, fractions in 2^-23, largest |x|, |w| as
// bits; with NaN or infinity among the quads the sums leave those groups out. N is a multiple of 4 and at most 32768
// PARTS. Memory bound. Source: binned summation as in Demmel and Nguyen, https://doi.org/10.1109/TC.2014.2345391, with
// integers in place of error-free sums.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './square-bins.wgsl?raw';

export const BIN_WORDS = 11;
export const BINS_KEPT = 4;
/** Elements that one part may have. */
export const MOST_PER_PART = 32_768;
const FRACTIONS = 2 ** 23;
const INFINITE = 0x7f800000;

export const squareBins = defineKernel({
  name: 'squareBins',
  bindings: { x: 'read u32', w: 'read u32', bins: 'read_write u32' },
  params: { N: 'elements', GROUP: 'neighbours that make one square sum, 4 or 1', PARTS: 'parts, one thread each' },
  dynamic: { N: 'u32', PARTS: 'u32' },
  variants: [{ name: 'quads', source, tune: { WG: [32] }, grid: ({ PARTS }, { WG }) => linearGrid(PARTS, WG) }],
  cost: ({ N, PARTS }) => ({ flops: 2 * N, bytes: 4 * (2 * N + BIN_WORDS * PARTS) }),
  reference({ x, w, bins }, { N, GROUP, PARTS }) {
    for (let p = 0; p < PARTS; p++) {
      const sums = new Map<number, number>();
      let most = 0;
      let weights = 0;
      for (let quad = p; quad < N / 4; quad += PARTS) {
        for (let i = 4 * quad; i < 4 * quad + 4; i++) weights = Math.max(weights, w[i] & 0x7fffffff);
        for (let at = 4 * quad; at < 4 * quad + 4; at += GROUP) {
          let largest = 0;
          for (let i = at; i < at + GROUP; i++) largest = Math.max(largest, x[i] & 0x7fffffff);
          most = Math.max(most, largest);
          if (largest < 2 ** 23 || largest >= INFINITE) continue;
          const bin = Math.floor((largest >>> 23) / 8);
          const y = [0, 0, 0, 0];
          for (let i = 0; i < GROUP; i++) y[i] = Math.fround(floatOf(x[at + i]) * 2 ** (127 - 8 * bin));
          const [a, b, c, d] = y.map((value) => Math.fround(value * value));
          // Whole numbers of 2^-23, exact in f64: 2^18 a group, 2^15 groups.
          sums.set(
            bin,
            (sums.get(bin) ?? 0) + Math.trunc(Math.fround(Math.fround(a + b) + Math.fround(c + d)) * FRACTIONS),
          );
        }
      }
      const top = Math.max(0, ...sums.keys());
      bins[BIN_WORDS * p] = top;
      for (let k = 0; k < BINS_KEPT; k++) {
        const sum = sums.get(top - k) ?? 0;
        bins[BIN_WORDS * p + 1 + k] = Math.floor(sum / FRACTIONS);
        bins[BIN_WORDS * p + 1 + BINS_KEPT + k] = sum % FRACTIONS;
      }
      bins[BIN_WORDS * p + BIN_WORDS - 2] = most;
      bins[BIN_WORDS * p + BIN_WORDS - 1] = weights;
    }
  },
  sizes: ({ N, PARTS }) => ({ x: N, w: N, bins: BIN_WORDS * PARTS }),
  cases: [
    { N: 4, GROUP: 4, PARTS: 1 },
    { N: 1000, GROUP: 4, PARTS: 7 },
    { N: 260, GROUP: 1, PARTS: 3 },
    { N: 64, GROUP: 4, PARTS: 33 },
    { N: 65536, GROUP: 4, PARTS: 2 },
    { N: 32768, GROUP: 1, PARTS: 1 },
  ],
  testInput(name, { N }, random) {
    if (name !== 'x') return undefined;
    // Numbers of 9 bits, alike in exponent within a quad: their squares and sums are exact, fused or not. One quad is
    // infinite, and many are 0.
    const values = new Float32Array(N);
    for (let quad = 0; quad < N / 4; quad++) {
      const scale = 2 ** Math.floor(random() * 60 - 30);
      for (let i = 0; i < 4; i++)
        values[4 * quad + i] = quad % 11 === 5 ? 0 : Math.round(random() * 1022 - 511) * scale;
    }
    if (N > 500) values[41] = Infinity;
    return new Uint32Array(values.buffer);
  },
});

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

function floatOf(bits: number): number {
  word[0] = bits;
  return single[0]!;
}
