// This rank's share of a batch: rows by replica (dp, then ep) and microbatch, columns by sequence shard. Targets are
// shifted before the cut, so the last token of a shard predicts the first of the next.

export interface BatchPlace {
  readonly replica: number;
  readonly replicas: number;
  readonly sequence: number;
  readonly sequences: number;
  readonly microbatches: number;
  readonly batch: number;
  readonly context: number;
}

export interface BatchSlice {
  readonly tokens: Uint32Array<ArrayBuffer>;
  readonly targets: Int32Array<ArrayBuffer>;
}

/** `batch` is I32 [rows, context + 1]; both results are [rows per microbatch * context / sp]. */
export function sliceBatch(batch: Int32Array, place: BatchPlace, microbatch: number): BatchSlice {
  const { replica, replicas, sequence, sequences, microbatches, batch: total, context } = place;
  const rows = total / replicas / microbatches;
  const T = context / sequences;
  const tokens = new Uint32Array(rows * T);
  const targets = new Int32Array(rows * T);
  for (let r = 0; r < rows; r++) {
    const row = (replica * microbatches + microbatch) * rows + r;
    const from = row * (context + 1) + sequence * T;
    for (let t = 0; t < T; t++) {
      tokens[r * T + t] = batch[from + t];
      targets[r * T + t] = batch[from + t + 1];
    }
  }
  return { tokens, targets };
}
