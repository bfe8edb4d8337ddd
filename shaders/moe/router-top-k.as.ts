// A softmax per row, then K times the largest logit after the last; threads share the tokens.

import { exp4, loadSome, storeSome, total } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function routerTopK(
  logits: usize,
  probs: usize,
  index: usize,
  gates: usize,
  N: i32,
  E: i32,
  K: i32,
  RENORM: i32,
  part: i32,
  parts: i32,
): void {
  const to = firstOf(N, part + 1, parts);
  for (let n = firstOf(N, part, parts); n < to; n++) {
    const row = logits + ((<usize>n * E) << 2);
    const p = probs + ((<usize>n * E) << 2);
    softmaxRow(row, p, E);
    choose(row, p, index + ((<usize>n * K) << 2), gates + ((<usize>n * K) << 2), E, K, RENORM);
  }
}

function softmaxRow(x: usize, out: usize, count: i32): void {
  let most = load<f32>(x);
  for (let e: usize = 4; e < (<usize>count) << 2; e += 4) most = max(most, load<f32>(x + e));
  const taken = f32x4.splat(most);
  let sums = f32x4.splat(0);
  let e = 0;
  for (; e + 4 <= count; e += 4) {
    const at = (<usize>e) << 2;
    const power = exp4(f32x4.sub(v128.load(x + at), taken));
    sums = f32x4.add(sums, power);
    v128.store(out + at, power);
  }
  let sum = total(sums);
  if (e < count) {
    const at = (<usize>e) << 2;
    const power = exp4(f32x4.sub(loadSome(x + at, count - e), taken));
    storeSome(out + at, power, count - e);
    for (; e < count; e++) sum += load<f32>(out + ((<usize>e) << 2));
  }
  for (let at: usize = 0; at < (<usize>count) << 2; at += 4) store<f32>(out + at, load<f32>(out + at) / sum);
}

/** Rank k is the largest logit, and of equal ones the lowest expert, that comes after rank k - 1. */
function choose(x: usize, p: usize, index: usize, gates: usize, E: i32, K: i32, RENORM: i32): void {
  let lastLogit: f32 = 0;
  let lastExpert = 0;
  let chosen: f32 = 0;
  for (let k = 0; k < K; k++) {
    let best: f32 = 0;
    let expert = E;
    for (let e = 0; e < E; e++) {
      const logit = load<f32>(x + ((<usize>e) << 2));
      const after = k === 0 || logit < lastLogit || (logit === lastLogit && e > lastExpert);
      if (after && (expert === E || logit > best)) {
        best = logit;
        expert = e;
      }
    }
    // Where NaN leaves none after the last, it is chosen again.
    if (expert === E) expert = lastExpert;
    else lastLogit = best;
    lastExpert = expert;
    const gate = load<f32>(p + ((<usize>expert) << 2));
    store<i32>(index + ((<usize>k) << 2), expert);
    store<f32>(gates + ((<usize>k) << 2), gate);
    chosen += gate;
  }
  if (RENORM)
    for (let at: usize = 0; at < (<usize>K) << 2; at += 4) store<f32>(gates + at, load<f32>(gates + at) / chosen);
}
