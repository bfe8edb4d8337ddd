// A microbatch as this rank sees it: some rows of the batch, of them the columns that the placement of tokens gives it.
// Targets were shifted before the cut, so the last token of a shard predicts the first of the next.

import type { TokenSlice } from '../../model/language/language-stage.ts';
import { IGNORED } from '../../model/language/token-rows.ts';
import type { Batch } from './batch.ts';

export interface BatchPlace {
  /** Rows of a microbatch. */
  readonly rows: number;
  /** Rank in the sequence group, and the columns that each rank of it holds; -1 is padding. */
  readonly sequence: number;
  readonly columns: readonly Int32Array[];
}

/**
 * Microbatch `index` of the batch: its rows [index * rows, (index + 1) * rows). Tokens and targets are [rows * tokens
 * per row on this rank]. `starts`: of a packed batch, the documentStarts of the whole.
 */
export function sliceBatch(batch: Batch, place: BatchPlace, index: number, starts?: Int32Array): TokenSlice {
  const { rows, sequence, columns } = place;
  const first = index * rows;
  const own = columns[sequence];
  const cut = (whole: Int32Array, padding: number): Int32Array<ArrayBuffer> =>
    Int32Array.from({ length: rows * own.length }, (_, i) => {
      const column = own[i % own.length];
      return column < 0 ? padding : whole[(first + Math.floor(i / own.length)) * batch.context + column];
    });
  const slice = { tokens: new Uint32Array(cut(batch.tokens, 0).buffer), targets: cut(batch.targets, IGNORED) };
  return starts ? { ...slice, rows: { columns, starts: cut(starts, 0) } } : slice;
}
