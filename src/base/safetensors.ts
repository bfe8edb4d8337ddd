// The safetensors container, both ways: u64 little-endian header length, JSON header, tensor bytes without gaps.
// Tensors are views of the input bytes; what a header may say stands in safetensors-header.ts.
// Source: https://github.com/huggingface/safetensors (README, "Format").

import { FormatError } from './errors.ts';
import { quote } from './json.ts';
import {
  BYTES,
  headerLength,
  isOurs,
  readHeader,
  TENSOR_NAME,
  type ReadOptions,
  type SafetensorsDType,
} from './safetensors-header.ts';
import { elements, formatShape, type Shape } from './shape.ts';

export { TENSOR_NAME, type ReadOptions, type SafetensorsDType };

export interface SafetensorsEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: Shape;
  /** The tensor's bytes, little-endian, row-major; a view of the file's bytes that may start at any offset. */
  readonly bytes: Uint8Array;
}

/** A tensor of another type than ours: it may stand in a file, but its values cannot be read. */
export interface ForeignEntry {
  readonly dtype: string;
  readonly shape: Shape;
  readonly bytes: Uint8Array;
}

export interface SafetensorsFile {
  /** In the order of the file's bytes. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  /**
   * Tensors of types that are not read here, such as F8_E4M3: no reason to refuse the file as long as nobody needs
   * them.
   */
  readonly foreign: ReadonlyMap<string, ForeignEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

const FORMAT = 'safetensors';

/** Reads a whole file. No bytes are copied: do not reuse `bytes` while the tensors are in use. */
export function readSafetensors(bytes: Uint8Array, options: ReadOptions = {}): SafetensorsFile {
  const headerBytes = headerLength(bytes, bytes.length, options);
  const data = bytes.subarray(8 + headerBytes);
  const { places, metadata } = readHeader(bytes.subarray(8, 8 + headerBytes), data.length, options);
  const tensors = new Map<string, SafetensorsEntry>();
  const foreign = new Map<string, ForeignEntry>();
  for (const { name, dtype, shape, begin, end } of places) {
    const part = data.subarray(begin, end);
    if (isOurs(dtype)) tensors.set(name, { dtype, shape, bytes: part });
    else foreign.set(name, { dtype, shape, bytes: part });
  }
  return { tensors, foreign, metadata };
}

export interface WriteEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: Shape;
  /**
   * The elements in row-major order; its bytes are written as they are (little-endian hosts only, as every browser is).
   */
  readonly data: ArrayBufferView;
}

/**
 * The bytes of a file. Tensors keep the order given, except that wider elements come first, so that every tensor is
 * aligned to its own element; the data begin at a multiple of 8. The default metadata `format: pt` is what PyTorch-side
 * loaders ask for.
 */
export function writeSafetensors(
  tensors: Iterable<readonly [string, WriteEntry]>,
  metadata: ReadonlyMap<string, string> = new Map([['format', 'pt']]),
): Uint8Array<ArrayBuffer> {
  const list = [...tensors].sort((a, b) => BYTES[b[1].dtype] - BYTES[a[1].dtype]);
  const header: string[] = [];
  if (metadata.size)
    header.push(
      `"__metadata__":{${[...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`,
    );
  const seen = new Set<string>(['__metadata__']);
  let end = 0;
  for (const [name, { dtype, shape, data }] of list) {
    if (seen.has(name) || !TENSOR_NAME.test(name))
      throw new FormatError(
        FORMAT,
        `cannot write a tensor called ${quote(name)}: ${seen.has(name) ? 'the name is taken' : 'the name must match ' + TENSOR_NAME.source}`,
      );
    seen.add(name);
    const need = elements(shape) * BYTES[dtype];
    if (data.byteLength !== need)
      throw new FormatError(
        FORMAT,
        `cannot write tensor ${quote(name)}: got ${data.byteLength} bytes, but ${dtype} ${formatShape(shape)} needs ${need}`,
      );
    header.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${end},${end + need}]}`,
    );
    end += need;
  }
  const json = new TextEncoder().encode(`{${header.join(',')}}`);
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + headerBytes + end);
  new DataView(out.buffer).setUint32(0, headerBytes, true);
  out.set(json, 8);
  out.fill(0x20, 8 + json.length, 8 + headerBytes);
  let at = 8 + headerBytes;
  for (const [, { data }] of list) {
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return out;
}

/** The elements as f32 in a fresh array. Wider types round to nearest; I64 and U64 go through f64. */
export function toFloat32(entry: SafetensorsEntry): Float32Array<ArrayBuffer> {
  const { dtype, bytes } = entry;
  if (dtype === 'F32') return new Float32Array(new Uint8Array(bytes).buffer);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = BYTES[dtype];
  const out = new Float32Array(bytes.byteLength / width);
  const read = READERS[dtype];
  for (let i = 0; i < out.length; i++) out[i] = read(view, i * width);
  return out;
}

/**
 * As toFloat32, but a view of the file's own bytes where they are aligned f32: large weights are then in memory once.
 * Not to be written to.
 */
export function viewFloat32(entry: SafetensorsEntry): Float32Array {
  const { dtype, bytes } = entry;
  if (dtype === 'F32' && bytes.byteOffset % 4 === 0)
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  return toFloat32(entry);
}

/**
 * The elements as i32 in a fresh array; a FormatError, which begins with `where`, when one is not a whole number of
 * that range.
 */
export function toInt32(entry: SafetensorsEntry, where = FORMAT): Int32Array<ArrayBuffer> {
  if (entry.dtype === 'I32') return new Int32Array(new Uint8Array(entry.bytes).buffer);
  const values = toFloat64(entry);
  const out = Int32Array.from(values);
  const bad = out.findIndex((value, i) => value !== values[i]);
  if (bad >= 0)
    throw new FormatError(where, `${entry.dtype} element ${bad} is ${values[bad]}, which is no 32-bit whole number`);
  return out;
}

/** The elements as f64 in a fresh array: exact for every dtype but I64 and U64 beyond 2^53. BOOL gives 0 and 1. */
export function toFloat64(entry: SafetensorsEntry): Float64Array<ArrayBuffer> {
  const { dtype, bytes } = entry;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = BYTES[dtype];
  const out = new Float64Array(bytes.byteLength / width);
  const read = READERS[dtype];
  for (let i = 0; i < out.length; i++) out[i] = read(view, i * width);
  return out;
}

const READERS: Readonly<Record<SafetensorsDType, (view: DataView, at: number) => number>> = {
  F64: (v, at) => v.getFloat64(at, true),
  F32: (v, at) => v.getFloat32(at, true),
  F16: (v, at) => halfToNumber(v.getUint16(at, true)),
  BF16: (v, at) => bfloatToNumber(v.getUint16(at, true)),
  I64: (v, at) => Number(v.getBigInt64(at, true)),
  U64: (v, at) => Number(v.getBigUint64(at, true)),
  I32: (v, at) => v.getInt32(at, true),
  U32: (v, at) => v.getUint32(at, true),
  I16: (v, at) => v.getInt16(at, true),
  U16: (v, at) => v.getUint16(at, true),
  I8: (v, at) => v.getInt8(at),
  U8: (v, at) => v.getUint8(at),
  BOOL: (v, at) => (v.getUint8(at) ? 1 : 0),
};

/** The value of an IEEE half: 1 sign, 5 exponent, 10 fraction bits. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/** The value of a bfloat16: the upper half of an f32. */
export function bfloatToNumber(bits: number): number {
  word[0] = bits << 16;
  return single[0]!;
}
