// How the scratch memory of a thread is divided: zeros, room of sight.as.ts, scores, the packed block, and as many
// panels as fit.

import { scratch } from '../wasm/threads.as.ts';
import { STEP } from './panels.as.ts';

/** Bytes of scratch memory; see SCRATCH_BYTES of src/device/wasm/instance.ts. */
const BYTES: usize = 1 << 19;
/** Zeros at the start, for `product`. */
export const ZERO_BYTES: usize = 192;
/** After them and the room of sight.as.ts. */
export const SCRATCH_START: usize = 256;
/** More panels than that share no packing. */
const MOST_PANELS: i32 = 32;
/** A packed side of a block should stay in the first cache. */
const BLOCK_FLOATS: i32 = 6144;
const MOST_ROWS: i32 = 192;
/** Rows of a block are whole tiles of 6 and of 4. */
const UNIT: i32 = 12;

/** Where sight.as.ts works. */
export function sightRoom(): usize {
  return scratch() + ZERO_BYTES;
}

/** Rows of a block for heads of D and DV entries. It depends on nothing else: results are the same for all threads. */
export function blockRows(D: i32, DV: i32): i32 {
  const rows = min(MOST_ROWS, BLOCK_FLOATS / max(D, DV));
  return max(UNIT, (rows / UNIT) * UNIT);
}

/**
 * How many panels fit beside scores [scoreRows, 8] and `packed` floats of a block, each with `entries` entries and
 * `extra` bytes. Traps if there is no room for one: wasmRefuses of attention.ts comes before.
 */
export function panelsWithin(packed: i32, scoreRows: i32, entries: i32, extra: usize): i32 {
  const taken = SCRATCH_START + ((<usize>packed) << 2) + <usize>scoreRows * STEP + 64;
  const each = <usize>entries * STEP + extra;
  if (taken + each > BYTES) unreachable();
  return min(MOST_PANELS, <i32>((BYTES - taken) / each));
}
