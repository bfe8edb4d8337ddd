// Files in the format of safetensors, right ones and wrong ones, for the tests of its reader and writer.

import { writeSafetensors } from '../../src/base/safetensors.ts';
import type { SafetensorsFile, WriteEntry } from '../../src/base/safetensors.ts';

/** A tensor to write. */
export const f32 = (shape: number[], values: number[]): WriteEntry => ({
  dtype: 'F32',
  shape,
  data: Float32Array.from(values),
});

/** A file from a header text and a number of data bytes. */
export function file(header: string, dataBytes: number, claimed?: number): Uint8Array {
  const json = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + json.length + dataBytes);
  new DataView(out.buffer).setBigUint64(0, BigInt(claimed ?? json.length), true);
  out.set(json, 8);
  return out;
}

/** What a header says of one tensor. */
export const entry = (shape: string, begin: number, end: number, dtype = 'F32'): string =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;
/** Two f32 at the start of the data. */
export const A = entry('[2]', 0, 8);

/** The bytes that our writer makes of what was read, but for foreign tensors. */
export function rewrite({ tensors, metadata }: SafetensorsFile): Uint8Array {
  return writeSafetensors(
    [...tensors].map(([name, { dtype, shape, bytes }]) => [name, { dtype, shape, data: bytes }]),
    metadata,
  );
}
