import type { Batch } from '../../src/train/data/batch.ts';

/** A batch as I32 [rows, context + 1]: the tokens, and the last target. */
export function windowsOf({ tokens, targets, rows, context }: Batch): Int32Array<ArrayBuffer> {
  const out = new Int32Array(rows * (context + 1));
  for (let row = 0; row < rows; row++) {
    out.set(tokens.subarray(row * context, (row + 1) * context), row * (context + 1));
    out[(row + 1) * (context + 1) - 1] = targets[(row + 1) * context - 1];
  }
  return out;
}
