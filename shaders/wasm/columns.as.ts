// Sums over rows. Kernels walk down the rows, several at a time, with the sums of a run of columns in scratch memory:
// so memory is read in order, and each sum is loaded and stored once for several rows. Threads share the columns.

import { loadSome, storeSome } from './simd.as.ts';

/** Columns whose sums stay in the cache. */
export const COLUMNS: i32 = 1024;

/** out (+)= sums. */
export function storeSums(sums: usize, out: usize, columns: i32, accumulate: i32): void {
  if (!accumulate) {
    memory.copy(out, sums, (<usize>columns) << 2);
    return;
  }
  for (; columns >= 4; columns -= 4) {
    v128.store(out, f32x4.add(v128.load(out), v128.load(sums)));
    out += 16;
    sums += 16;
  }
  if (columns > 0) storeSome(out, f32x4.add(loadSome(out, columns), v128.load(sums)), columns);
}
