// Shapes and element types. A shape is a plain array of extents, outermost first (row-major storage).

export type Shape = readonly number[];
export type DType = 'f32' | 'u32' | 'i32';
export type TypedArray = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/** Number of elements of `shape`; 1 for the empty shape (a scalar). */
export function elements(shape: Shape): number {
  let n = 1;
  for (const extent of shape) n *= extent;
  return n;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i]);
}

/** A typed view of `bytes` as `dtype`, without a copy. `bytes.byteOffset` must be a multiple of 4. */
export function typedView(
  dtype: DType,
  bytes: ArrayBuffer,
  byteOffset = 0,
  length = (bytes.byteLength - byteOffset) / 4,
): TypedArray {
  if (dtype === 'f32') return new Float32Array(bytes, byteOffset, length);
  if (dtype === 'u32') return new Uint32Array(bytes, byteOffset, length);
  return new Int32Array(bytes, byteOffset, length);
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}
