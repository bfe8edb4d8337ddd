// Where the tokens of this rank stand in their rows, and which keys they see: positions for rotary tables and learned
// positions, and the intervals that attention masks by. A query sees the keys whose column lies in its interval, from
// the beginning of its document to itself, wherever the two are held.

/** Stands for a target that is not counted; PyTorch's ignore_index. The kernels of the loss know it as well. */
export const IGNORED = -100;

/** Column of a key that nobody sees: it is larger than any query's. */
const NOWHERE = 0xffffffff;

export interface TokenRows {
  /** Columns that each rank of the sequence group holds, [tokens per row]; -1 is padding. */
  readonly columns: readonly Int32Array[];
  /** I32 [rows * tokens per row] on this rank: the column in which the document of each token begins. */
  readonly starts: Int32Array;
}

/** U32 [rows * tokens]: position of each token in its document; 0 for padding. */
export function positionsOf({ columns, starts }: TokenRows, rank: number): Uint32Array<ArrayBuffer> {
  const own = columns[rank];
  return Uint32Array.from(starts, (start, i) => Math.max(0, own[i % own.length] - start));
}

/**
 * What the masked attention kernels read, for the keys of each rank: U32 [3 * rows * tokens]. First the intervals of
 * this rank's queries (first and last column, per row and token; padding has an empty one), then the columns of the
 * keys.
 */
export function intervalsOf({ columns, starts }: TokenRows, rank: number): readonly Uint32Array<ArrayBuffer>[] {
  const own = columns[rank];
  const queries = new Uint32Array(2 * starts.length);
  for (const [i, start] of starts.entries()) {
    const column = own[i % own.length];
    queries.set(column < 0 ? [1, 0] : [start, column], 2 * i);
  }
  return columns.map((held) => {
    const all = new Uint32Array(3 * starts.length);
    all.set(queries);
    for (let i = 0; i < starts.length; i++)
      all[queries.length + i] = held[i % held.length] < 0 ? NOWHERE : held[i % held.length];
    return all;
  });
}

/** By rank: whether any of its keys may be seen by any of this rank's queries. */
export function seenRanks(columns: readonly Int32Array[], rank: number): readonly boolean[] {
  const last = Math.max(...columns[rank]);
  return columns.map((held) => held.some((column) => column >= 0 && column <= last));
}

/** Whether the ranks hold consecutive runs of full rows, so that offsets say all that the columns say. */
export function areRuns(columns: readonly Int32Array[]): boolean {
  return columns.every((held, rank) => held.every((column, t) => column === rank * held.length + t));
}
