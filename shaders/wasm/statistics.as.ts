// What a softmax knows of a run of floats before it writes anything, and sums.

import { exp4, firstLanes, loadSome, total } from './simd.as.ts';

/** Floats whose exponentials are added in f32, 256 to a lane, before their sum goes into one of f64. */
export const RUN: i32 = 2048;

/** The largest of `count` floats and `least`; NaN among them may be passed over. */
export function peakOf(at: usize, count: i32, least: f32): f32 {
  let p0 = f32x4.splat(least);
  let p1 = p0;
  let p2 = p0;
  let p3 = p0;
  for (; count >= 16; count -= 16) {
    p0 = f32x4.pmax(p0, v128.load(at));
    p1 = f32x4.pmax(p1, v128.load(at, 16));
    p2 = f32x4.pmax(p2, v128.load(at, 32));
    p3 = f32x4.pmax(p3, v128.load(at, 48));
    at += 64;
  }
  for (; count >= 4; count -= 4) {
    p0 = f32x4.pmax(p0, v128.load(at));
    at += 16;
  }
  if (count > 0) p1 = f32x4.pmax(p1, v128.bitselect(loadSome(at, count), f32x4.splat(least), firstLanes(count)));
  const peak = f32x4.pmax(f32x4.pmax(p0, p1), f32x4.pmax(p2, p3));
  const two = f32x4.pmax(peak, v128.shuffle<f32>(peak, peak, 2, 3, 0, 1));
  const one = f32x4.pmax(two, v128.shuffle<f32>(two, two, 1, 0, 3, 2));
  return f32x4.extract_lane(one, 0);
}

/** Whether one of `count` floats is NaN. */
export function hasNaN(at: usize, count: i32): boolean {
  for (let i = 0; i < count; i++) {
    const value = load<f32>(at + ((<usize>i) << 2));
    if (value !== value) return true;
  }
  return false;
}

/** The sum of exp(x - peak) over `count` floats. */
export function expSumOf(at: usize, count: i32, peak: f32): f64 {
  let sum: f64 = 0;
  for (; count > 0; count -= RUN) {
    sum += expSumOfRun(at, min(count, RUN), f32x4.splat(peak));
    at += (<usize>RUN) << 2;
  }
  return sum;
}

function expSumOfRun(at: usize, count: i32, peak: v128): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  for (; count >= 8; count -= 8) {
    s0 = f32x4.add(s0, exp4(f32x4.sub(v128.load(at), peak)));
    s1 = f32x4.add(s1, exp4(f32x4.sub(v128.load(at, 16), peak)));
    at += 32;
  }
  if (count >= 4) {
    s0 = f32x4.add(s0, exp4(f32x4.sub(v128.load(at), peak)));
    at += 16;
  }
  const rest = count & 3;
  if (rest) s1 = f32x4.add(s1, v128.and(exp4(f32x4.sub(loadSome(at, rest), peak)), firstLanes(rest)));
  return total(f32x4.add(s0, s1));
}

/** The sum of `count` floats, added in f32. */
export function sumOf(at: usize, count: i32): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  for (; count >= 16; count -= 16) {
    s0 = f32x4.add(s0, v128.load(at));
    s1 = f32x4.add(s1, v128.load(at, 16));
    s2 = f32x4.add(s2, v128.load(at, 32));
    s3 = f32x4.add(s3, v128.load(at, 48));
    at += 64;
  }
  for (; count >= 4; count -= 4) {
    s0 = f32x4.add(s0, v128.load(at));
    at += 16;
  }
  if (count > 0) s1 = f32x4.add(s1, loadSome(at, count));
  return total(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
}

/** The same, for runs of any length: sums of RUN floats go into one of f64. */
export function longSumOf(at: usize, count: i32): f64 {
  let sum: f64 = 0;
  for (; count > 0; count -= RUN) {
    sum += sumOf(at, min(count, RUN));
    at += (<usize>RUN) << 2;
  }
  return sum;
}
