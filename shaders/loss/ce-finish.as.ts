// One row after another, in f64: the rows are few.

import { log } from '../wasm/logarithm.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

const IGNORED: i32 = -100;
/** Stands for minus infinity: the lse of no columns. */
const LOWEST: f32 = -1e30;

export function ceFinish(
  rowMax: usize,
  rowSum: usize,
  targetLogit: usize,
  logitSum: usize,
  targets: usize,
  lse: usize,
  rowLoss: usize,
  R: i32,
  VOCAB: i32,
  SMOOTHING: f32,
  part: i32,
  parts: i32,
): void {
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const at = (<usize>r) << 2;
    const sum = load<f32>(rowSum + at);
    if (sum <= 0) {
      store<f32>(lse + at, LOWEST);
      store<f32>(rowLoss + at, 0);
      continue;
    }
    const whole = <f64>load<f32>(rowMax + at) + log(sum);
    store<f32>(lse + at, <f32>whole);
    let loss: f64 = 0;
    if (load<i32>(targets + at) !== IGNORED) {
      loss = (1 - <f64>SMOOTHING) * (whole - load<f32>(targetLogit + at));
      // Logits of minus infinity have no sum.
      if (SMOOTHING > 0) loss += <f64>SMOOTHING * (whole - <f64>load<f32>(logitSum + at) / VOCAB);
    }
    store<f32>(rowLoss + at, <f32>loss);
  }
}
