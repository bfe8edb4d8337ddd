// Row by row, with the gradient by the probabilities in the row of dLogits; threads share the tokens.

import { copyRow, dot, zeroRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function routerBackward(
  probs: usize,
  index: usize,
  dGates: usize,
  dProbs: usize,
  dLogits: usize,
  N: i32,
  E: i32,
  K: i32,
  RENORM: i32,
  HAS_DPROBS: i32,
  part: i32,
  parts: i32,
): void {
  const to = firstOf(N, part + 1, parts);
  for (let n = firstOf(N, part, parts); n < to; n++) {
    const at = (<usize>n * E) << 2;
    const p = probs + at;
    const d = dLogits + at;
    if (HAS_DPROBS) copyRow(d, dProbs + at, E);
    else zeroRow(d, E);
    addGates(p, index + ((<usize>n * K) << 2), dGates + ((<usize>n * K) << 2), d, K, RENORM);
    const mean = dot(p, d, E);
    for (let e: usize = 0; e < (<usize>E) << 2; e += 4) store<f32>(d + e, load<f32>(p + e) * (load<f32>(d + e) - mean));
  }
}

/** gate_k = p_k / sum: d gate_j / d p_k = [j = k] / sum - p_j / sum^2, the second term only if RENORM. */
function addGates(p: usize, index: usize, dGates: usize, d: usize, K: i32, RENORM: i32): void {
  const bytes = (<usize>K) << 2;
  let sum: f32 = 1;
  let less: f32 = 0;
  if (RENORM) {
    sum = 0;
    for (let k: usize = 0; k < bytes; k += 4) {
      const chosen = load<f32>(p + ((<usize>load<u32>(index + k)) << 2));
      sum += chosen;
      less += chosen * load<f32>(dGates + k);
    }
    less /= sum * sum;
  }
  for (let k: usize = 0; k < bytes; k += 4) {
    const place = d + ((<usize>load<u32>(index + k)) << 2);
    store<f32>(place, load<f32>(place) + load<f32>(dGates + k) / sum - less);
  }
}
