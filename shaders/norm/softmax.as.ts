// Rows while they lie in the cache: the largest, the exponentials and their sum, the quotients. Where the dimension is
// not the last one, four neighbouring lines go down it side by side.

import { log } from '../wasm/logarithm.as.ts';
import { exp4, firstLanes, loadSome, storeSome, total } from '../wasm/simd.as.ts';
import { expSumOf, peakOf, RUN } from '../wasm/statistics.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function softmax(x: usize, out: usize, OUTER: i32, C: i32, INNER: i32, LOG: i32, part: i32, parts: i32): void {
  if (INNER === 1) {
    const to = firstOf(OUTER, part + 1, parts);
    for (let r = firstOf(OUTER, part, parts); r < to; r++) {
      const skip = (<usize>r * C) << 2;
      const peak = peakOf(x + skip, C, -Infinity);
      if (LOG) logarithms(x + skip, out + skip, C, peak, <f32>log(expSumOf(x + skip, C, peak)));
      else quotients(x + skip, out + skip, C, peak);
    }
    return;
  }
  const fours = (INNER + 3) >> 2;
  const to = firstOf(OUTER * fours, part + 1, parts);
  for (let unit = firstOf(OUTER * fours, part, parts); unit < to; unit++) {
    const inner = (unit % fours) << 2;
    const skip = (<usize>(unit / fours) * C * INNER + inner) << 2;
    down(x + skip, out + skip, C, (<usize>INNER) << 2, min(4, INNER - inner), LOG);
  }
}

function quotients(x: usize, out: usize, C: i32, peak: f32): void {
  let sum: f64 = 0;
  for (let c = 0; c < C; c += RUN) {
    const skip = (<usize>c) << 2;
    sum += exponentials(x + skip, out + skip, min(RUN, C - c), f32x4.splat(peak));
  }
  const scale = f32x4.splat(<f32>(1 / sum));
  for (; C >= 4; C -= 4) {
    v128.store(out, f32x4.mul(v128.load(out), scale));
    out += 16;
  }
  if (C > 0) storeSome(out, f32x4.mul(loadSome(out, C), scale), C);
}

/** out = exp(x - peak); their sum. */
function exponentials(x: usize, out: usize, count: i32, peak: v128): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  for (; count >= 8; count -= 8) {
    const a = exp4(f32x4.sub(v128.load(x), peak));
    const b = exp4(f32x4.sub(v128.load(x, 16), peak));
    v128.store(out, a);
    v128.store(out, b, 16);
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
    x += 32;
    out += 32;
  }
  if (count >= 4) {
    const a = exp4(f32x4.sub(v128.load(x), peak));
    v128.store(out, a);
    s0 = f32x4.add(s0, a);
    x += 16;
    out += 16;
  }
  const rest = count & 3;
  if (rest) {
    const a = exp4(f32x4.sub(loadSome(x, rest), peak));
    storeSome(out, a, rest);
    s1 = f32x4.add(s1, v128.and(a, firstLanes(rest)));
  }
  return total(f32x4.add(s0, s1));
}

/** out = (x - peak) - logSum. */
function logarithms(x: usize, out: usize, count: i32, largest: f32, sum: f32): void {
  const peak = f32x4.splat(largest);
  const logSum = f32x4.splat(sum);
  for (; count >= 4; count -= 4) {
    v128.store(out, f32x4.sub(f32x4.sub(v128.load(x), peak), logSum));
    x += 16;
    out += 16;
  }
  if (count > 0) storeSome(out, f32x4.sub(f32x4.sub(loadSome(x, count), peak), logSum), count);
}

/** `lines` (1 to 4) lines whose elements lie `stride` bytes apart. */
function down(x: usize, out: usize, C: i32, stride: usize, lines: i32, LOG: i32): void {
  let peak = f32x4.splat(-Infinity);
  let at = x;
  for (let c = C; c > 0; c--) {
    peak = f32x4.max(peak, lines < 4 ? loadSome(at, lines) : v128.load(at));
    at += stride;
  }
  let sum = f32x4.splat(0);
  at = x;
  for (let c = C; c > 0; c--) {
    sum = f32x4.add(sum, exp4(f32x4.sub(lines < 4 ? loadSome(at, lines) : v128.load(at), peak)));
    at += stride;
  }
  const scale = f32x4.div(f32x4.splat(1), sum);
  const logSum = LOG ? log4(sum) : sum;
  for (let c = C; c > 0; c--) {
    const d = f32x4.sub(lines < 4 ? loadSome(x, lines) : v128.load(x), peak);
    const v = LOG ? f32x4.sub(d, logSum) : f32x4.mul(exp4(d), scale);
    if (lines < 4) storeSome(out, v, lines);
    else v128.store(out, v);
    x += stride;
    out += stride;
  }
}

function log4(v: v128): v128 {
  let logs = f32x4.splat(<f32>log(f32x4.extract_lane(v, 0)));
  logs = f32x4.replace_lane(logs, 1, <f32>log(f32x4.extract_lane(v, 1)));
  logs = f32x4.replace_lane(logs, 2, <f32>log(f32x4.extract_lane(v, 2)));
  return f32x4.replace_lane(logs, 3, <f32>log(f32x4.extract_lane(v, 3)));
}
