// Activations of four floats and their slopes.

import { exp4, madd, sigmoid4 } from './simd.as.ts';

const SQRT_2_OVER_PI: f32 = 0.7978845608028654;
const CUBIC: f32 = 0.044715;
const SQRT_HALF: f32 = 0.7071067811865476;
const DENSITY_AT_0: f32 = 0.3989422804014327;

/** The tanh form of GELU: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is x sigmoid of twice that. */
export function gelu4(x: v128): v128 {
  return f32x4.mul(x, geluGate(x));
}

function geluGate(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(x, x), f32x4.mul(x, f32x4.splat(CUBIC)));
  return sigmoid4(f32x4.mul(f32x4.add(x, cube), f32x4.splat(2 * SQRT_2_OVER_PI)));
}

/** Its slope, s + x s (1 - s) sqrt(8 / pi) (1 + 3 0.044715 x^2), s the sigmoid. */
export function geluSlope4(x: v128): v128 {
  const s = geluGate(x);
  const flat = f32x4.mul(x, f32x4.mul(s, f32x4.sub(f32x4.splat(1), s)));
  // Where x^2 is so large that it would be infinite, s (1 - s) is 0.
  const square = f32x4.pmin(f32x4.mul(x, x), f32x4.splat(1e6));
  const inner = madd(square, f32x4.splat(6 * CUBIC * SQRT_2_OVER_PI), f32x4.splat(2 * SQRT_2_OVER_PI));
  return madd(flat, inner, s);
}

/** The erf form of GELU: x P(X < x). */
export function geluErf4(x: v128): v128 {
  return f32x4.mul(x, below(x));
}

/** Its slope, P(X < x) + x times the density at x. */
export function geluErfSlope4(x: v128): v128 {
  const density = exp4(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5)));
  return madd(x, f32x4.mul(density, f32x4.splat(DENSITY_AT_0)), below(x));
}

/**
 * P(X < x) of a standard normal X, by half of erfc(|x| / sqrt 2) with a relative error of 1e-7. Source: Press et al.,
 * Numerical Recipes, section 6.2, erfcc.
 */
function below(x: v128): v128 {
  const z = f32x4.mul(f32x4.abs(x), f32x4.splat(SQRT_HALF));
  const t = f32x4.div(f32x4.splat(1), madd(z, f32x4.splat(0.5), f32x4.splat(1)));
  let p = madd(t, f32x4.splat(0.17087277), f32x4.splat(-0.82215223));
  p = madd(p, t, f32x4.splat(1.48851587));
  p = madd(p, t, f32x4.splat(-1.13520398));
  p = madd(p, t, f32x4.splat(0.27886807));
  p = madd(p, t, f32x4.splat(-0.18628806));
  p = madd(p, t, f32x4.splat(0.09678418));
  p = madd(p, t, f32x4.splat(0.37409196));
  p = madd(p, t, f32x4.splat(1.00002368));
  p = madd(p, t, f32x4.splat(-1.26551223));
  const tail = f32x4.mul(f32x4.mul(t, f32x4.splat(0.5)), exp4(f32x4.sub(p, f32x4.mul(z, z))));
  return v128.bitselect(f32x4.sub(f32x4.splat(1), tail), tail, f32x4.gt(x, f32x4.splat(0)));
}

/** x sigmoid(x). */
export function silu4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(x));
}

/** Its slope, s (1 + x (1 - s)), s the sigmoid. */
export function siluSlope4(x: v128): v128 {
  const s = sigmoid4(x);
  return f32x4.mul(s, madd(x, f32x4.sub(f32x4.splat(1), s), f32x4.splat(1)));
}
