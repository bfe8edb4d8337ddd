// A batch of token rows: what the network reads, what it should say next, and which document each token belongs to.

export interface Batch {
  /** I32 [rows, context]. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** I32 [rows, context]: the token that should follow, or IGNORED. */
  readonly targets: Int32Array<ArrayBuffer>;
  readonly rows: number;
  readonly context: number;
  /**
   * I32 [rows, context]: index of each token's document; a document is a run of equal ones within a row. A token
   * attends inside its document alone, and positions begin at 0 in each. Absent: each row is one document.
   */
  readonly documents?: Int32Array<ArrayBuffer>;
}

/** Of I32 [rows, context + 1], in which the next column is the target. */
export function batchOf(windows: Int32Array, rows: number, context: number): Batch {
  const tokens = new Int32Array(rows * context);
  const targets = new Int32Array(rows * context);
  for (let row = 0; row < rows; row++) {
    const at = row * (context + 1);
    tokens.set(windows.subarray(at, at + context), row * context);
    targets.set(windows.subarray(at + 1, at + context + 1), row * context);
  }
  return { tokens, targets, rows, context };
}

/** I32 [rows, context]: the column in which the document of each token begins. */
export function documentStarts({ rows, context, documents }: Batch): Int32Array<ArrayBuffer> {
  const starts = new Int32Array(rows * context);
  if (!documents) return starts;
  for (let i = 0; i < starts.length; i++) {
    const column = i % context;
    starts[i] = column > 0 && documents[i] === documents[i - 1] ? starts[i - 1] : column;
  }
  return starts;
}
