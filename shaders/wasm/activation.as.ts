// Activations of four floats.

import { sigmoid4 } from './simd.as.ts';

const SQRT_2_OVER_PI: f32 = 0.7978845608028654;
const CUBIC: f32 = 0.044715;

/** The tanh form of GELU: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is x sigmoid of twice that. */
export function gelu4(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(x, x), f32x4.mul(x, f32x4.splat(CUBIC)));
  return f32x4.mul(x, sigmoid4(f32x4.mul(f32x4.add(x, cube), f32x4.splat(2 * SQRT_2_OVER_PI))));
}

/** x sigmoid(x). */
export function silu4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(x));
}
