// The weights of attention, lane by lane, in scores [rows, 8] as panels.as.ts makes them.

import { exp4 } from '../wasm/simd.as.ts';
import { STEP } from './panels.as.ts';

/** Stands for minus infinity, in scores and in lse; see NO_KEY of attention.ts. */
export const NONE: f32 = -1e30;
/** An lse up to this, and a largest score below it, are those of a row that saw nothing. */
export const SEES_NONE: f32 = -1e29;

/**
 * One block of the online softmax: `state` holds the largest score and the sum of the weights so far, two vectors each;
 * sums [entries, 8] of values are weighed by the former. Scores become weights by the largest score including these.
 */
export function weigh(scores: usize, rows: i32, state: usize, sums: usize, entries: i32): void {
  const end = scores + <usize>rows * STEP;
  const before0 = v128.load(state);
  const before1 = v128.load(state, 16);
  let top0 = before0;
  let top1 = before1;
  // NaN is passed over here and appears in the weights.
  for (let at = scores; at < end; at += STEP) {
    top0 = f32x4.pmax(top0, v128.load(at));
    top1 = f32x4.pmax(top1, v128.load(at, 16));
  }
  v128.store(state, top0);
  v128.store(state, top1, 16);
  const shrink0 = exp4(f32x4.sub(before0, top0));
  const shrink1 = exp4(f32x4.sub(before1, top1));
  // A lane that has seen no key yet has NONE as its largest: the floor keeps its weights 0.
  top0 = f32x4.pmax(top0, f32x4.splat(SEES_NONE));
  top1 = f32x4.pmax(top1, f32x4.splat(SEES_NONE));
  let total0 = f32x4.splat(0);
  let total1 = f32x4.splat(0);
  for (let at = scores; at < end; at += STEP) {
    const weight0 = exp4(f32x4.sub(v128.load(at), top0));
    v128.store(at, weight0);
    total0 = f32x4.add(total0, weight0);
    const weight1 = exp4(f32x4.sub(v128.load(at, 16), top1));
    v128.store(at, weight1, 16);
    total1 = f32x4.add(total1, weight1);
  }
  v128.store(state, f32x4.add(f32x4.mul(v128.load(state, 32), shrink0), total0), 32);
  v128.store(state, f32x4.add(f32x4.mul(v128.load(state, 48), shrink1), total1), 48);
  const one = f32x4.splat(1);
  if (!v128.any_true(v128.or(f32x4.ne(shrink0, one), f32x4.ne(shrink1, one)))) return;
  for (let i = 0; i < entries; i++) {
    v128.store(sums, f32x4.mul(v128.load(sums), shrink0));
    v128.store(sums, f32x4.mul(v128.load(sums, 16), shrink1), 16);
    sums += STEP;
  }
}

/** Lanes are queries, `state` their lse and delta: scores become dS without SCALE, e^(s - lse) (dP - delta). */
export function queryGradients(scores: usize, dP: usize, rows: i32, state: usize): void {
  const lse0 = v128.load(state);
  const lse1 = v128.load(state, 16);
  const delta0 = v128.load(state, 32);
  const delta1 = v128.load(state, 48);
  for (let i = 0; i < rows; i++) {
    const p0 = exp4(f32x4.sub(v128.load(scores), lse0));
    v128.store(scores, f32x4.mul(p0, f32x4.sub(v128.load(dP), delta0)));
    const p1 = exp4(f32x4.sub(v128.load(scores, 16), lse1));
    v128.store(scores, f32x4.mul(p1, f32x4.sub(v128.load(dP, 16), delta1)), 16);
    scores += STEP;
    dP += STEP;
  }
}

/** Lanes are keys, rows queries with lse and delta at `state`, 8 bytes each: scores become p, and dP dS. */
export function keyGradients(scores: usize, dP: usize, rows: i32, state: usize): void {
  for (let i = 0; i < rows; i++) {
    const lse = v128.load_splat<f32>(state);
    const delta = v128.load_splat<f32>(state, 4);
    const p0 = exp4(f32x4.sub(v128.load(scores), lse));
    v128.store(scores, p0);
    v128.store(dP, f32x4.mul(p0, f32x4.sub(v128.load(dP), delta)));
    const p1 = exp4(f32x4.sub(v128.load(scores, 16), lse));
    v128.store(scores, p1, 16);
    v128.store(dP, f32x4.mul(p1, f32x4.sub(v128.load(dP, 16), delta)), 16);
    scores += STEP;
    dP += STEP;
    state += 8;
  }
}
