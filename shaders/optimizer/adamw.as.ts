// One pass over the weights; those that decay are a run of their own. The last few of a run go through scratch memory,
// so that the loop has whole vectors only: it has more constants than there are registers already.

import { firstFloat, scratch } from '../wasm/threads.as.ts';
import { loadSome, madd, storeSome } from '../wasm/simd.as.ts';

/** Bits of 2^100, 2^62, 2^122. */
const MOST_PARAM: i32 = 0x71800000;
const MOST_M: i32 = 0x5e800000;
const MOST_V: i32 = 0x7c800000;
const SIGNLESS: i32 = 0x7fffffff;

export function adamw(
  param: usize,
  grad: usize,
  m: usize,
  v: usize,
  hyper: usize,
  flags: usize,
  N: i32,
  DECAY_START: i32,
  DECAY_END: i32,
  part: i32,
  parts: i32,
): void {
  const from = firstFloat(N, part, parts);
  const to = firstFloat(N, part + 1, parts);
  const start = min(to, max(from, DECAY_START));
  const end = min(to, max(start, DECAY_END));
  const kept = <f32>(1 - <f64>load<f32>(hyper) * load<f32>(hyper, 16));
  let within = update(param, grad, m, v, hyper, from, start, 1);
  within = update(param, grad, m, v, hyper, start, end, kept) && within;
  within = update(param, grad, m, v, hyper, end, to, 1) && within;
  if (!within) store<i32>(flags, 1);
}

/** Weights `from` to `to`, multiplied by `kept` first. Whether all lie within the bounds. */
function update(param: usize, grad: usize, m: usize, v: usize, hyper: usize, from: i32, to: i32, kept: f32): bool {
  const count = to - from;
  const skip = (<usize>from) << 2;
  param += skip;
  grad += skip;
  m += skip;
  v += skip;
  const within = updateVectors(param, grad, m, v, hyper, count >> 2, kept);
  const rest = count & 3;
  if (rest === 0) return within;
  const done = (<usize>(count - rest)) << 2;
  const some = scratch();
  v128.store(some, loadSome(param + done, rest));
  v128.store(some, loadSome(grad + done, rest), 16);
  v128.store(some, loadSome(m + done, rest), 32);
  // 1 where there is no weight: 0 would divide by eps, which may be 0.
  v128.store(some, f32x4.splat(1), 48);
  storeSome(some + 48, loadSome(v + done, rest), rest);
  const restWithin = updateVectors(some, some + 16, some + 32, some + 48, hyper, 1, kept);
  storeSome(param + done, v128.load(some), rest);
  storeSome(m + done, v128.load(some, 32), rest);
  storeSome(v + done, v128.load(some, 48), rest);
  return within && restWithin;
}

function updateVectors(param: usize, grad: usize, m: usize, v: usize, hyper: usize, count: i32, kept: f32): bool {
  const keep = f32x4.splat(kept);
  const rate = f32x4.splat(<f32>(<f64>load<f32>(hyper) / load<f32>(hyper, 20)));
  const beta1 = v128.load_splat<f32>(hyper, 4);
  const beta2 = v128.load_splat<f32>(hyper, 8);
  const eps = v128.load_splat<f32>(hyper, 12);
  const root = f32x4.splat(<f32>(1 / Math.sqrt(load<f32>(hyper, 24))));
  const scale = v128.load_splat<f32>(hyper, 28);
  const rest1 = v128.load_splat<f32>(hyper, 32);
  const rest2 = v128.load_splat<f32>(hyper, 36);
  // The largest without their signs, as bits: NaN is larger than all numbers.
  const signless = i32x4.splat(SIGNLESS);
  let mostParam = i32x4.splat(0);
  let mostM = mostParam;
  let mostV = mostParam;
  for (; count > 0; count--) {
    const g = f32x4.mul(scale, v128.load(grad));
    const mean = madd(beta1, v128.load(m), f32x4.mul(rest1, g));
    const square = madd(beta2, v128.load(v), f32x4.mul(rest2, f32x4.mul(g, g)));
    v128.store(m, mean);
    v128.store(v, square);
    mostM = i32x4.max_s(mostM, v128.and(mean, signless));
    mostV = i32x4.max_s(mostV, v128.and(square, signless));
    const step = f32x4.div(f32x4.mul(rate, mean), madd(f32x4.sqrt(square), root, eps));
    const updated = f32x4.sub(f32x4.mul(keep, v128.load(param)), step);
    v128.store(param, updated);
    mostParam = i32x4.max_s(mostParam, v128.and(updated, signless));
    param += 16;
    grad += 16;
    m += 16;
    v += 16;
  }
  let beyond = i32x4.gt_s(mostParam, i32x4.splat(MOST_PARAM));
  beyond = v128.or(beyond, i32x4.gt_s(mostM, i32x4.splat(MOST_M)));
  beyond = v128.or(beyond, i32x4.gt_s(mostV, i32x4.splat(MOST_V)));
  return !v128.any_true(beyond);
}
