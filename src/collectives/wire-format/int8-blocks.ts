// int8 with a scale per block of 256: scale = max |x| / 127 in f32, q = round(x / scale). On the wire: all scales, then
// all q, four to a word. Error: at most 0.502 scale, that is 0.00396 max |x| of the block (half a step, and the
// rounding of the scale). A block with an infinity or NaN comes out as NaN in all its places, so that it is seen. A
// block whose scale would vanish (max |x| below 2^-142) comes out as zeros.

export const BLOCK = 256;
/** The largest f32. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

export function int8Words(count: number): number {
  return Math.ceil(count / BLOCK) + Math.ceil(count / 4);
}

export function encodeInt8(x: Float32Array, words: Uint32Array): void {
  const blocks = Math.ceil(x.length / BLOCK);
  const scales = new Float32Array(words.buffer, words.byteOffset, blocks);
  const quantised = new Int8Array(words.buffer, words.byteOffset + 4 * blocks, 4 * Math.ceil(x.length / 4));
  for (let block = 0; block < blocks; block++) {
    const end = Math.min(x.length, (block + 1) * BLOCK);
    let most = 0;
    let total = 0;
    for (let i = block * BLOCK; i < end; i++) {
      const size = Math.abs(x[i]);
      if (size > most) most = size;
      total += size; // NaN stays, whatever follows
    }
    // The total of finite f32 cannot overflow a double.
    scales[block] = Number.isFinite(total) ? most / 127 : NaN;
    // 127 scales of the largest numbers may round to infinity.
    if (127 * scales[block] > LARGEST) scales[block] = LARGEST / 127 - 2 ** 98;
    const scale = scales[block];
    if (scale < 2 ** -149 || Number.isNaN(scale)) {
      quantised.fill(0, block * BLOCK, end);
      continue;
    }
    // A scale rounded down in the subnormal range would overflow 127.
    for (let i = block * BLOCK; i < end; i++) quantised[i] = Math.max(-127, Math.min(127, Math.round(x[i] / scale)));
  }
  quantised.fill(0, x.length);
}

/** Total: any words give numbers. */
export function decodeInt8(words: Uint32Array, out: Float32Array): void {
  const blocks = Math.ceil(out.length / BLOCK);
  const scales = new Float32Array(words.buffer, words.byteOffset, blocks);
  const quantised = new Int8Array(words.buffer, words.byteOffset + 4 * blocks, out.length);
  for (let i = 0; i < out.length; i++) out[i] = quantised[i] * scales[(i / BLOCK) | 0];
}
