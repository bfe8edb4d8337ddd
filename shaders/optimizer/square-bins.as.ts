// Four quads at once, which belong to four parts that follow one another: turned by 90 degrees, a lane has a quad. The
// sums are integers of 64 bits, one per part and bin, so nothing carries. All parts of a thread advance together, so
// that memory is read in order.

import { firstOf, scratch } from '../wasm/threads.as.ts';

const BIN_WORDS: usize = 11;
const BINS: i32 = 32;
/** Parts that advance together. */
const TOGETHER: i32 = 128;
/** Bytes of the sums of a bin, and of the largest sizes. */
const BIN_BYTES: usize = (<usize>TOGETHER) << 3;
const SIZE_BYTES: usize = (<usize>TOGETHER) << 4;
const SIGNLESS: i32 = 0x7fffffff;
const INFINITE: i32 = 0x7f800000;
const SUBNORMAL: i32 = 0x7fffff;

export function squareBins(
  x: usize,
  w: usize,
  bins: usize,
  N: i32,
  GROUP: i32,
  PARTS: i32,
  part: i32,
  parts: i32,
): void {
  // The largest |w| of a part, in four lanes; its largest |x|, in one lane or four; its sums.
  const weights = scratch();
  const most = weights + SIZE_BYTES;
  const sums = most + SIZE_BYTES;
  const quads = N >> 2;
  const to = firstOf(PARTS, part + 1, parts);
  for (let first = firstOf(PARTS, part, parts); first < to; first += TOGETHER) {
    const together = min(TOGETHER, to - first);
    memory.fill(weights, 0, 2 * SIZE_BYTES + BINS * BIN_BYTES);
    for (let quad = first; quad < quads; quad += PARTS) {
      const at = (<usize>quad) << 4;
      const count = min(together, quads - quad);
      largest(w + at, weights, count);
      if (GROUP === 4) addQuads(x + at, most, sums, count);
      else addSingles(x + at, most, sums, count);
    }
    for (let p = 0; p < together; p++) {
      const words = bins + ((<usize>(first + p) * BIN_WORDS) << 2);
      writeSums(sums + ((<usize>p) << 3), words);
      const size = GROUP === 4 ? load<i32>(most + ((<usize>p) << 2)) : largestLane(most + ((<usize>p) << 4));
      store<i32>(words, size, 36);
      store<i32>(words, largestLane(weights + ((<usize>p) << 4)), 40);
    }
  }
}

/** sizes <- max(sizes, |x|), as bits. */
function largest(x: usize, sizes: usize, count: i32): void {
  for (; count > 0; count--) {
    v128.store(sizes, i32x4.max_s(v128.load(sizes), v128.and(v128.load(x), i32x4.splat(SIGNLESS))));
    x += 16;
    sizes += 16;
  }
}

function largestLane(at: usize): i32 {
  return max(max(load<i32>(at), load<i32>(at, 4)), max(load<i32>(at, 8), load<i32>(at, 12)));
}

/** Quads that are not there count as zeros, which change nothing. */
function addQuads(x: usize, most: usize, sums: usize, count: i32): void {
  for (; count > 0; count -= 4) {
    const zero = i32x4.splat(0);
    const a = v128.load(x);
    const b = count > 1 ? v128.load(x, 16) : zero;
    const c = count > 2 ? v128.load(x, 32) : zero;
    const d = count > 3 ? v128.load(x, 48) : zero;
    const ab01 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
    const ab23 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
    const cd01 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
    const cd23 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
    const signless = i32x4.splat(SIGNLESS);
    const v0 = v128.and(v128.shuffle<i64>(ab01, cd01, 0, 2), signless);
    const v1 = v128.and(v128.shuffle<i64>(ab01, cd01, 1, 3), signless);
    const v2 = v128.and(v128.shuffle<i64>(ab23, cd23, 0, 2), signless);
    const v3 = v128.and(v128.shuffle<i64>(ab23, cd23, 1, 3), signless);
    const peak = i32x4.max_s(i32x4.max_s(v0, v1), i32x4.max_s(v2, v3));
    v128.store(most, i32x4.max_s(v128.load(most), peak));
    const scale = scaleOf(peak);
    const y0 = f32x4.mul(v0, scale);
    const y1 = f32x4.mul(v1, scale);
    const y2 = f32x4.mul(v2, scale);
    const y3 = f32x4.mul(v3, scale);
    // Never fused: these bits are to be those of every device.
    const low = f32x4.add(f32x4.mul(y0, y0), f32x4.mul(y1, y1));
    const high = f32x4.add(f32x4.mul(y2, y2), f32x4.mul(y3, y3));
    drop(sums, peak, f32x4.add(low, high), 8);
    x += 64;
    most += 16;
    sums += 32;
  }
}

/** Every element is a group, and the four of a quad belong to one part. */
function addSingles(x: usize, most: usize, sums: usize, count: i32): void {
  largest(x, most, count);
  for (; count > 0; count--) {
    const size = v128.and(v128.load(x), i32x4.splat(SIGNLESS));
    const y = f32x4.mul(size, scaleOf(size));
    drop(sums, size, f32x4.mul(y, y), 0);
    x += 16;
    sums += 8;
  }
}

/** The power of two that brings numbers of these bits to 1 <= y < 256. */
function scaleOf(size: v128): v128 {
  const bin = i32x4.shr_u(size, 26);
  return i32x4.shl(i32x4.sub(i32x4.splat(254), i32x4.shl(bin, 3)), 23);
}

/** Adds the square sums of four groups to those of their bins; `step` bytes lie between the groups' parts. */
function drop(sums: usize, size: v128, squares: v128, step: usize): void {
  const counts = v128.and(i32x4.gt_s(size, i32x4.splat(SUBNORMAL)), i32x4.lt_s(size, i32x4.splat(INFINITE)));
  const kept = v128.and(squares, counts);
  const low = units(kept);
  const high = units(v128.shuffle<i64>(kept, kept, 1, 0));
  const bin = i32x4.shr_u(size, 26);
  addTo(sums + <usize>i32x4.extract_lane(bin, 0) * BIN_BYTES, i64x2.extract_lane(low, 0));
  addTo(sums + <usize>i32x4.extract_lane(bin, 1) * BIN_BYTES + step, i64x2.extract_lane(low, 1));
  addTo(sums + <usize>i32x4.extract_lane(bin, 2) * BIN_BYTES + 2 * step, i64x2.extract_lane(high, 0));
  addTo(sums + <usize>i32x4.extract_lane(bin, 3) * BIN_BYTES + 3 * step, i64x2.extract_lane(high, 1));
}

/** The first two floats, below 2^18, in units of 2^-23: a double plus 2^52 has the integer in its low bits. */
function units(v: v128): v128 {
  const scaled = f64x2.mul(f64x2.promote_low_f32x4(v), f64x2.splat(8388608));
  return v128.and(f64x2.add(scaled, f64x2.splat(4503599627370496)), i64x2.splat(0xfffffffffffff));
}

function addTo(at: usize, value: i64): void {
  store<i64>(at, load<i64>(at) + value);
}

/** The top bin of a part that has a sum, and the sums of four bins from there down: whole parts, then fractions. */
function writeSums(sums: usize, words: usize): void {
  let top = BINS - 1;
  while (top > 0 && load<i64>(sums + <usize>top * BIN_BYTES) === 0) top--;
  store<i32>(words, top);
  for (let k = 0; k < 4; k++) {
    const sum = top >= k ? load<i64>(sums + <usize>(top - k) * BIN_BYTES) : 0;
    const at = words + ((<usize>k) << 2);
    store<i32>(at, <i32>(sum >> 23), 4);
    store<i32>(at, <i32>(sum & SUBNORMAL), 20);
  }
}
