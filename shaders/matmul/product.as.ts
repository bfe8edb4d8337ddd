// One product in packed panels, as GotoBLAS and BLIS do it: KC x NC of b at a time, MC x KC of a, and in the middle a
// tile of out that stays in registers. The packed form is the same for every transposition, so all cost the same.
// Threads pack b together, then share the rows.

import { firstOf, meet, scratch, sharedScratch } from '../wasm/threads.as.ts';
import { isNarrow, matmulRows } from './matmul-rows.as.ts';
import { NR, storeTile } from './store-tile.as.ts';
import { MR, packA, packB, tile } from './tile.as.ts';

const KC: i32 = 256;
const MC: i32 = 144;
const NC: i32 = 1024;
/** Bytes of scratch before the packed part of a: one tile of sums. */
const TILE_BYTES: usize = 256;

/** out [M, N] = act(SCALE op(a) op(b) + bias) + residual, plus out if ACCUMULATE; see matmul.ts. 0: no such array. */
export function product(
  a: usize,
  b: usize,
  bias: usize,
  residual: usize,
  out: usize,
  M: i32,
  N: i32,
  K: i32,
  TRANS_A: i32,
  TRANS_B: i32,
  ACT: i32,
  ACCUMULATE: i32,
  SCALE: f32,
  part: i32,
  parts: i32,
): void {
  // A whole sum is needed where an activation follows, and out, which would hold a part of it, is added to.
  if (isNarrow(M, N, TRANS_B) || (ACT && ACCUMULATE && K > KC))
    matmulRows(scratch(), a, b, bias, residual, out, M, N, K, TRANS_A, TRANS_B, ACT, ACCUMULATE, SCALE, part, parts);
  else packed(a, b, bias, residual, out, M, N, K, TRANS_A, TRANS_B, ACT, ACCUMULATE, SCALE, part, parts);
}

function packed(
  a: usize,
  b: usize,
  bias: usize,
  residual: usize,
  out: usize,
  M: i32,
  N: i32,
  K: i32,
  TRANS_A: i32,
  TRANS_B: i32,
  ACT: i32,
  ACCUMULATE: i32,
  SCALE: f32,
  part: i32,
  parts: i32,
): void {
  const sums = scratch();
  const packedA = sums + TILE_BYTES;
  const packedB = sharedScratch();
  const tiles = (M + MR - 1) / MR;
  const from = firstOf(tiles, part, parts) * MR;
  const to = min(M, firstOf(tiles, part + 1, parts) * MR);
  for (let column = 0; column < N; column += NC) {
    const columns = min(NC, N - column);
    const panels = (columns + NR - 1) / NR;
    const lastPanel = firstOf(panels, part + 1, parts);
    for (let k = 0; k < K; k += KC) {
      const terms = min(KC, K - k);
      for (let panel = firstOf(panels, part, parts); panel < lastPanel; panel++) {
        const j = panel * NR;
        packB(packedB + ((<usize>j * terms) << 2), b, column + j, min(NR, columns - j), k, terms, N, K, TRANS_B);
      }
      meet(parts);
      const partial = k > 0;
      const ends = k + terms === K;
      for (let row = from; row < to; row += MC) {
        const rows = min(MC, to - row);
        for (let i = 0; i < rows; i += MR)
          packA(packedA + ((<usize>i * terms) << 2), a, row + i, min(MR, rows - i), k, terms, M, K, TRANS_A);
        for (let j = 0; j < columns; j += NR) {
          for (let i = 0; i < rows; i += MR) {
            tile(sums, packedA + ((<usize>i * terms) << 2), packedB + ((<usize>j * terms) << 2), terms);
            const place = (<usize>(row + i) * N + column + j) << 2;
            storeTile(
              sums,
              out + place,
              min(MR, rows - i),
              min(NR, columns - j),
              N,
              SCALE,
              ends ? ACT : 0,
              partial,
              ACCUMULATE !== 0 && !partial,
              ends && bias ? bias + ((<usize>column + j) << 2) : 0,
              ends && residual ? residual + place : 0,
            );
          }
        }
      }
      meet(parts);
    }
  }
}
