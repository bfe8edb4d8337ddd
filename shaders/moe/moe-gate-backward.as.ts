// A dot product per assignment; threads share them.

import { dot } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';
import { NO_ROW } from './no-row.as.ts';

export function moeGateBackward(
  dOut: usize,
  y: usize,
  slotOf: usize,
  dGates: usize,
  N: i32,
  C: i32,
  K: i32,
  part: i32,
  parts: i32,
): void {
  const bytes = (<usize>C) << 2;
  const to = firstOf(N * K, part + 1, parts);
  for (let a = firstOf(N * K, part, parts); a < to; a++) {
    const at = (<usize>a) << 2;
    const slot = load<u32>(slotOf + at);
    store<f32>(dGates + at, slot === NO_ROW ? 0 : dot(dOut + <usize>(a / K) * bytes, y + <usize>slot * bytes, C));
  }
}
