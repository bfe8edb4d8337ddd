// Causal attention of one head and its gradients in f64, from the formula: out = softmax(q k^T / sqrt(D)) v, and dQ,
// dK, dV of sum(out dOut).

export interface HeadArrays {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly dOut: Float32Array;
}
export interface HeadResults {
  readonly out: Float64Array;
  readonly dQ: Float64Array;
  readonly dK: Float64Array;
  readonly dV: Float64Array;
}

/** All arrays are [T, D]; about 5 T T D multiply-adds. */
export function attendHead({ q, k, v, dOut }: HeadArrays, T: number, D: number): HeadResults {
  const [out, dQ, dK, dV] = Array.from({ length: 4 }, () => new Float64Array(T * D));
  const scale = 1 / Math.sqrt(D);
  const p = new Float64Array(T);
  const dot = (a: Float32Array, i: number, b: Float32Array | Float64Array, j: number): number => {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += a[i * D + d] * b[j * D + d];
    return sum;
  };
  for (let i = 0; i < T; i++) {
    let top = -Infinity;
    for (let j = 0; j <= i; j++) top = Math.max(top, (p[j] = scale * dot(q, i, k, j)));
    let total = 0;
    for (let j = 0; j <= i; j++) total += p[j] = Math.exp(p[j] - top);
    for (let j = 0; j <= i; j++)
      for (let d = 0, weight = (p[j] /= total); d < D; d++) out[i * D + d] += weight * v[j * D + d];
    const delta = dot(dOut, i, out, i);
    for (let j = 0; j <= i; j++) {
      const dS = scale * p[j] * (dot(dOut, i, v, j) - delta);
      for (let d = 0; d < D; d++) {
        dQ[i * D + d] += dS * k[j * D + d];
        dK[j * D + d] += dS * q[i * D + d];
        dV[j * D + d] += p[j] * dOut[i * D + d];
      }
    }
  }
  return { out, dQ, dK, dV };
}
