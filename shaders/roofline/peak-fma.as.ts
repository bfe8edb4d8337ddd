// Eight chains at a time: two multiply-adds a cycle, each done after four, keep that many under way. What is left of
// CHAINS goes one by one. Threads share the sums.

import { madd, total } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

const TOGETHER: i32 = 8;

export function peakFma(
  coefficients: usize,
  out: usize,
  THREADS: i32,
  STEPS: i32,
  CHAINS: i32,
  part: i32,
  parts: i32,
): void {
  const a = v128.load(coefficients);
  const b = v128.load(coefficients, 16);
  const to = firstOf(THREADS, part + 1, parts);
  for (let t = firstOf(THREADS, part, parts); t < to; t++) {
    let sum = f32x4.splat(0);
    let c = 0;
    for (; c + TOGETHER <= CHAINS; c += TOGETHER) sum = f32x4.add(sum, chains((t % 16) + c, STEPS, a, b));
    for (; c < CHAINS; c++) {
      let x = start((t % 16) + c);
      for (let s = 0; s < STEPS; s++) x = madd(x, a, b);
      sum = f32x4.add(sum, x);
    }
    store<f32>(out + ((<usize>t) << 2), total(sum));
  }
}

/** The first quad of a chain. */
function start(number: i32): v128 {
  return f32x4.mul(f32x4.add(f32x4.splat(<f32>number), f32x4(0, 1, 2, 3)), f32x4.splat(1.0 / 16));
}

/** The sum of the chains from `number` on. */
function chains(number: i32, STEPS: i32, a: v128, b: v128): v128 {
  let x0 = start(number);
  let x1 = start(number + 1);
  let x2 = start(number + 2);
  let x3 = start(number + 3);
  let x4 = start(number + 4);
  let x5 = start(number + 5);
  let x6 = start(number + 6);
  let x7 = start(number + 7);
  for (let s = 0; s < STEPS; s++) {
    x0 = madd(x0, a, b);
    x1 = madd(x1, a, b);
    x2 = madd(x2, a, b);
    x3 = madd(x3, a, b);
    x4 = madd(x4, a, b);
    x5 = madd(x5, a, b);
    x6 = madd(x6, a, b);
    x7 = madd(x7, a, b);
  }
  const first = f32x4.add(f32x4.add(x0, x1), f32x4.add(x2, x3));
  return f32x4.add(first, f32x4.add(f32x4.add(x4, x5), f32x4.add(x6, x7)));
}
