// What all WebAssembly kernels share: one multiply-add for both builds, and elementary functions on four floats.

/** a b + c; rounded once or twice, as the processor does it. */
export function madd(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, c) : f32x4.add(f32x4.mul(a, b), c);
}

/** The sum of the four. */
export function total(v: v128): f32 {
  const pairs = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** The largest of the four; NaN if one of them is. */
export function largest(v: v128): f32 {
  const pairs = f32x4.max(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return max(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
}

/** The first `count` (1 to 3) floats at `at`, zeros behind them; reads nothing else. */
export function loadSome(at: usize, count: i32): v128 {
  if (count === 1) return v128.load32_zero(at);
  const two = v128.load64_zero(at);
  return count === 2 ? two : v128.load_lane<f32>(at, two, 2, 8);
}

/** All bits of the first `count` lanes. */
export function firstLanes(count: i32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count));
}

/** Stores the first `count` (1 to 3) floats of `v`. */
export function storeSome(at: usize, v: v128, count: i32): void {
  if (count === 1) {
    v128.store_lane<f32>(at, v, 0);
    return;
  }
  v128.store_lane<f64>(at, v, 0);
  if (count === 3) v128.store_lane<f32>(at, v, 2, 8);
}

/** 1.5 2^23: a float near 0 plus this has the nearest integer in its low bits. */
const ROUNDER: f32 = 12582912;

/**
 * e^x with a relative error of 1e-7: 2^n times a polynomial of degree 6 on [-ln 2 / 2, ln 2 / 2], fitted for the
 * relative error with its first two coefficients fixed (4e-9 in exact arithmetic). Results below 2^-125.5 are 0, those
 * from 2^128 on infinite, of NaN NaN.
 */
export function exp4(x: v128): v128 {
  // These two let NaN through.
  const inRange = f32x4.pmin(f32x4.pmax(x, f32x4.splat(-87.4)), f32x4.splat(89));
  const shifted = madd(inRange, f32x4.splat(1.4426950408889634), f32x4.splat(ROUNDER));
  const n = f32x4.sub(shifted, f32x4.splat(ROUNDER));
  // ln 2 in two parts, so that the first difference is exact.
  let r = madd(n, f32x4.splat(-0.693359375), inRange);
  r = madd(n, f32x4.splat(2.1219444e-4), r);
  // Twice e^r and half of 2^n, because 2^128 is no float. The half of 2^-126 comes out as 0.
  let p = madd(r, f32x4.splat(0.0027629198), f32x4.splat(0.016737433));
  p = madd(p, r, f32x4.splat(0.08333678));
  p = madd(p, r, f32x4.splat(0.33333042));
  p = madd(p, r, f32x4.splat(0.9999999));
  p = madd(p, r, f32x4.splat(2));
  p = madd(p, r, f32x4.splat(2));
  return f32x4.mul(p, i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(0x3f000000)));
}

/** tanh x, as 1 - 2 / (e^2x + 1); near 0 its absolute error is that of a float near 1. */
export function tanh4(x: v128): v128 {
  const e = exp4(f32x4.add(x, x));
  return f32x4.sub(f32x4.splat(1), f32x4.div(f32x4.splat(2), f32x4.add(e, f32x4.splat(1))));
}

/** 1 / (1 + e^-x). */
export function sigmoid4(x: v128): v128 {
  return f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
}
