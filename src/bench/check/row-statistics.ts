// Mean softmax cross-entropy of logits and its gradient in f64: loss = mean over rows of lse - logit[target]; d loss /
// d logit = (softmax - onehot) / R.

export interface RowStatistics {
  readonly lse: Float64Array;
  readonly loss: number;
}

/** `row(r)` gives the V logits of a row; it is called once per row. */
export function rowStatistics(
  row: (r: number) => ArrayLike<number>,
  targets: Int32Array,
  R: number,
  V: number,
): RowStatistics {
  const lse = new Float64Array(R);
  let sum = 0;
  for (let r = 0; r < R; r++) {
    const logits = row(r);
    let top = -Infinity;
    for (let c = 0; c < V; c++) if (logits[c] > top) top = logits[c];
    let total = 0;
    for (let c = 0; c < V; c++) total += Math.exp(logits[c] - top);
    lse[r] = top + Math.log(total);
    sum += lse[r] - logits[targets[r]];
  }
  return { lse, loss: sum / R };
}
