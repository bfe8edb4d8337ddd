// Rows of T + 1 tokens as what the network reads and what it should say, both [B * T].

export function splitBatch(
  batch: Int32Array,
  B: number,
  T: number,
): { tokens: Int32Array<ArrayBuffer>; targets: Int32Array<ArrayBuffer> } {
  const tokens = new Int32Array(B * T);
  const targets = new Int32Array(B * T);
  for (let b = 0; b < B; b++) {
    const at = b * (T + 1);
    tokens.set(batch.subarray(at, at + T), b * T);
    targets.set(batch.subarray(at + 1, at + T + 1), b * T);
  }
  return { tokens, targets };
}
