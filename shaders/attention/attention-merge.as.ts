// Merges attention over two sets of keys, row by row; see attention-merge.ts.

import { log } from '../wasm/logarithm.as.ts';
import { exp4, loadSome, madd, storeSome } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';
import { NONE, SEES_NONE } from './weights.as.ts';

export function attentionMerge(
  out: usize,
  lse: usize,
  partOut: usize,
  partLse: usize,
  B: i32,
  HQ: i32,
  TQ: i32,
  DV: i32,
  O_OFF: i32,
  O_B: i32,
  O_H: i32,
  O_T: i32,
  part: i32,
  parts: i32,
): void {
  const end = firstOf(B * HQ * TQ, part + 1, parts);
  for (let row = firstOf(B * HQ * TQ, part, parts); row < end; row++) {
    const head = row / TQ;
    const at = (<usize>(O_OFF + (head / HQ) * O_B + (head % HQ) * O_H + (row % TQ) * O_T)) << 2;
    const here = lse + ((<usize>row) << 2);
    const own = load<f32>(here);
    const other = load<f32>(partLse + ((<usize>row) << 2));
    // Written so that NaN counts as having seen keys.
    const ownSees = !(own <= SEES_NONE);
    const otherSees = !(other <= SEES_NONE);
    if (!otherSees) {
      if (!ownSees) {
        store<f32>(here, NONE);
        memory.fill(out + at, 0, (<usize>DV) << 2);
      }
      continue;
    }
    if (!ownSees) {
      store<f32>(here, other);
      memory.copy(out + at, partOut + at, (<usize>DV) << 2);
      continue;
    }
    const top = max(own, other);
    const weights = exp4(f32x4(own - top, other - top, 0, 0));
    const ownWeight = f32x4.extract_lane(weights, 0);
    const otherWeight = f32x4.extract_lane(weights, 1);
    const sum = ownWeight + otherWeight;
    mix(out + at, ownWeight / sum, partOut + at, otherWeight / sum, DV);
    store<f32>(here, <f32>(<f64>top + log(sum)));
  }
}

/** x = a x + b y. */
function mix(x: usize, a: f32, y: usize, b: f32, count: i32): void {
  const left = f32x4.splat(a);
  const right = f32x4.splat(b);
  for (; count >= 4; count -= 4) {
    v128.store(x, madd(right, v128.load(y), f32x4.mul(left, v128.load(x))));
    x += 16;
    y += 16;
  }
  if (count > 0) storeSome(x, madd(right, loadSome(y, count), f32x4.mul(left, loadSome(x, count))), count);
}
