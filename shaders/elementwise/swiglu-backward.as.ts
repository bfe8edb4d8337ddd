// One pass; threads share the rows.

import { loadSome, madd, sigmoid4, storeSome } from '../wasm/simd.as.ts';
import { firstOf } from '../wasm/threads.as.ts';

export function swigluBackward(
  gateUp: usize,
  dOut: usize,
  dGateUp: usize,
  R: i32,
  F: i32,
  part: i32,
  parts: i32,
): void {
  const width = (<usize>F) << 2;
  const to = firstOf(R, part + 1, parts);
  for (let r = firstOf(R, part, parts); r < to; r++) {
    const skip = 2 * <usize>r * width;
    gradientOfRow(gateUp + skip, dOut + <usize>r * width, dGateUp + skip, width, F);
  }
}

/** The other half of a row lies `width` bytes on. */
function gradientOfRow(gateUp: usize, dOut: usize, dGateUp: usize, width: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    const gate = v128.load(gateUp);
    const s = sigmoid4(gate);
    const d = f32x4.mul(v128.load(dOut), s);
    v128.store(dGateUp, f32x4.mul(f32x4.mul(d, v128.load(gateUp + width)), slope(gate, s)));
    v128.store(dGateUp + width, f32x4.mul(d, gate));
    gateUp += 16;
    dOut += 16;
    dGateUp += 16;
  }
  if (count > 0) {
    const gate = loadSome(gateUp, count);
    const s = sigmoid4(gate);
    const d = f32x4.mul(loadSome(dOut, count), s);
    storeSome(dGateUp, f32x4.mul(f32x4.mul(d, loadSome(gateUp + width, count)), slope(gate, s)), count);
    storeSome(dGateUp + width, f32x4.mul(d, gate), count);
  }
}

/** 1 + x (1 - s), which makes the slope of SiLU with another s. */
function slope(x: v128, s: v128): v128 {
  return madd(x, f32x4.sub(f32x4.splat(1), s), f32x4.splat(1));
}
