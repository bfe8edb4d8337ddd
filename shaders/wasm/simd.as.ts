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

/** Stores the first `count` (1 to 3) floats of `v`. */
export function storeSome(at: usize, v: v128, count: i32): void {
  if (count === 1) {
    v128.store_lane<f32>(at, v, 0);
    return;
  }
  v128.store_lane<f64>(at, v, 0);
  if (count === 3) v128.store_lane<f32>(at, v, 2, 8);
}

/**
 * e^x with a relative error of 1e-7: 2^n times a polynomial of degree 6 on [-ln 2 / 2, ln 2 / 2] (coefficients of
 * Cephes' expf). Below -103 it is 0, above 88.7 infinite, of NaN NaN; results below 2^-126 are 0.
 */
export function exp4(x: v128): v128 {
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.4426950408889634)));
  const clamped = f32x4.max(f32x4.min(n, f32x4.splat(128)), f32x4.splat(-127));
  // ln 2 in two parts, so that the difference is exact.
  const high = f32x4.sub(x, f32x4.mul(clamped, f32x4.splat(0.693359375)));
  const r = f32x4.sub(high, f32x4.mul(clamped, f32x4.splat(-2.1219444e-4)));
  let p = madd(r, f32x4.splat(1.98756915e-4), f32x4.splat(1.3981999507e-3));
  p = madd(p, r, f32x4.splat(8.3334519073e-3));
  p = madd(p, r, f32x4.splat(4.1665795894e-2));
  p = madd(p, r, f32x4.splat(1.6666665459e-1));
  p = madd(p, r, f32x4.splat(5.0000001201e-1));
  const y = f32x4.add(madd(p, f32x4.mul(r, r), r), f32x4.splat(1));
  // 2^n in two steps: 2^128 is no float.
  const half = i32x4.shr_s(i32x4.trunc_sat_f32x4_s(clamped), 1);
  const rest = i32x4.sub(i32x4.trunc_sat_f32x4_s(clamped), half);
  const power = f32x4.mul(f32x4.mul(y, two(half)), two(rest));
  const inRange = v128.bitselect(power, f32x4.splat(0), f32x4.ge(x, f32x4.splat(-87.3)));
  const capped = v128.bitselect(f32x4.splat(Infinity), inRange, f32x4.gt(x, f32x4.splat(88.72284)));
  return v128.bitselect(capped, x, f32x4.eq(x, x));
}

/** 2^n of integers from -126 to 127. */
function two(n: v128): v128 {
  return i32x4.shl(i32x4.add(n, i32x4.splat(127)), 23);
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
