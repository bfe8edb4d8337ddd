// Attention problems are [heads, T, D]; some libraries want [T, heads, D]. Both ways on the host, before and after the
// clock.

/** [outer, inner, D] to [inner, outer, D]. */
export function swapHeads(data: Float32Array, outer: number, inner: number, D: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(data.length);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++)
      out.set(data.subarray((o * inner + i) * D, (o * inner + i + 1) * D), (i * outer + o) * D);
  return out;
}
