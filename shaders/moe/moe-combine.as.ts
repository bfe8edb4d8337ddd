// Gathers the outputs of a token's experts; threads share the tokens.

import { addRow, addScaledRow, copyRow, zeroRow } from '../wasm/rows.as.ts';
import { firstOf } from '../wasm/threads.as.ts';
import { NO_ROW } from './no-row.as.ts';

export function moeCombine(
  y: usize,
  slotOf: usize,
  gates: usize,
  residual: usize,
  out: usize,
  N: i32,
  C: i32,
  K: i32,
  GATED: i32,
  RESIDUAL: i32,
  part: i32,
  parts: i32,
): void {
  const bytes = (<usize>C) << 2;
  const to = firstOf(N, part + 1, parts);
  for (let n = firstOf(N, part, parts); n < to; n++) {
    const row = out + <usize>n * bytes;
    if (RESIDUAL) copyRow(row, residual + <usize>n * bytes, C);
    else zeroRow(row, C);
    for (let k = 0; k < K; k++) {
      const at = (<usize>n * K + k) << 2;
      const slot = load<u32>(slotOf + at);
      if (slot === NO_ROW) continue;
      const from = y + <usize>slot * bytes;
      if (GATED) addScaledRow(row, from, load<f32>(gates + at), C);
      else addRow(row, from, C);
    }
  }
}
