// The safetensors container, both ways: u64 little-endian header length, JSON header, tensor bytes without gaps.
// The reader is total: it returns a file or throws a FormatError, and allocates nothing beyond the header. It is stricter than the
// format's own library: no duplicate keys, no unknown fields, names from a small alphabet. Tensors are views of the input bytes.
// Source: https://github.com/huggingface/safetensors (README, "Format").

import { FormatError } from './errors.ts';
import { decodeUtf8, isArray, isObject, parseJson, quote, type JsonValue } from './json.ts';
import { elements, formatShape, type Shape } from './shape.ts';

const BYTES = {
  F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1,
} as const;
export type SafetensorsDType = keyof typeof BYTES;

export interface SafetensorsEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: Shape;
  /** The tensor's bytes, little-endian, row-major; a view of the file's bytes that may start at any offset. */
  readonly bytes: Uint8Array;
}

export interface SafetensorsFile {
  /** In the order of the file's bytes. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

export interface ReadOptions {
  /** Default 1 MiB, which is room for about 8,000 tensors. */
  readonly maxHeaderBytes?: number;
  /** What every tensor name must match; default letters, digits and `._/-`, 1 to 128 of them. */
  readonly names?: RegExp;
  /** Exactly these tensors, no more and no fewer. */
  readonly expected?: ReadonlySet<string>;
  /** The file's name, for errors. */
  readonly label?: string;
}

export const TENSOR_NAME = /^[A-Za-z0-9._/-]{1,128}$/;
const FORMAT = 'safetensors';

/** Reads a whole file. No bytes are copied: do not reuse `bytes` while the tensors are in use. */
export function readSafetensors(bytes: Uint8Array, options: ReadOptions = {}): SafetensorsFile {
  const { maxHeaderBytes = 1 << 20, names = TENSOR_NAME, expected, label } = options;
  const fail = (detail: string): never => { throw new FormatError(FORMAT, label ? `${label}: ${detail}` : detail); };

  if (bytes.length < 8) fail(`expected at least 8 bytes, got ${bytes.length}; the file is cut off or empty`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (headerBytes > maxHeaderBytes) fail(`the header claims ${headerBytes} bytes, but at most ${maxHeaderBytes} are accepted; is this a safetensors file?`);
  if (headerBytes > bytes.length - 8) fail(`the header claims ${headerBytes} bytes, but only ${bytes.length - 8} follow; the file is cut off`);
  const data = bytes.subarray(8 + headerBytes);
  if (bytes[8] !== 0x7b || headerBytes === 0) fail('the header must begin with {');
  const header = labelled(label, () => parseJson(decodeUtf8(bytes.subarray(8, 8 + headerBytes), FORMAT), { format: FORMAT, maxDepth: 3, naturalsOnly: true }));
  if (!isObject(header)) return fail('the header must be an object');

  const metadata = new Map<string, string>();
  const found: { name: string; dtype: SafetensorsDType; shape: Shape; begin: number; end: number }[] = [];
  for (const [name, value] of header) {
    if (name === '__metadata__') {
      if (!isObject(value)) return fail('__metadata__ must be an object of strings');
      for (const [key, item] of value) {
        if (typeof item !== 'string') return fail(`__metadata__: ${quote(key)} must be a string`);
        metadata.set(key, item);
      }
      continue;
    }
    if (!names.test(name)) fail(`the tensor name ${quote(name)} must match ${names.source}`);
    if (expected && !expected.has(name)) fail(`the tensor ${quote(name)} is not expected here`);
    found.push({ name, ...checkInfo(value, data.length, (detail) => fail(`tensor ${quote(name)}: ${detail}`)) });
  }
  if (expected) for (const name of expected) if (!header.has(name)) fail(`the tensor ${quote(name)} is missing`);

  // Empty tensors come before a tensor that begins at the same byte.
  found.sort((a, b) => a.begin - b.begin || a.end - b.end);
  const tensors = new Map<string, SafetensorsEntry>();
  let end = 0;
  for (const t of found) {
    if (t.begin > end) fail(`tensor ${quote(t.name)} begins at byte ${t.begin}, but the tensor before it ends at ${end}: a hole of ${t.begin - end} bytes`);
    if (t.begin < end) fail(`tensor ${quote(t.name)} begins at byte ${t.begin}, inside the tensor before it, which ends at ${end}`);
    tensors.set(t.name, { dtype: t.dtype, shape: t.shape, bytes: data.subarray(t.begin, t.end) });
    end = t.end;
  }
  if (end !== data.length) fail(`the tensors end at byte ${end} of ${data.length} data bytes; ${data.length - end} bytes belong to nothing`);
  return { tensors, metadata };
}

/** The three fields of a tensor's header entry, with offsets that lie inside the data and agree with dtype and shape. */
function checkInfo(value: JsonValue, dataBytes: number, fail: (detail: string) => never): { dtype: SafetensorsDType; shape: Shape; begin: number; end: number } {
  if (!isObject(value)) return fail('expected an object with dtype, shape and data_offsets');
  for (const key of value.keys()) if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') fail(`unknown field ${quote(key)}`);
  const dtype = value.get('dtype');
  if (typeof dtype !== 'string' || !Object.hasOwn(BYTES, dtype)) return fail(`dtype must be one of ${Object.keys(BYTES).join(', ')}, got ${typeof dtype === 'string' ? quote(dtype) : 'no string'}`);
  const shape = naturals(value.get('shape'));
  if (!shape) return fail('shape must be a list of whole numbers');
  const offsets = naturals(value.get('data_offsets'));
  const [begin, end] = offsets ?? [];
  if (offsets?.length !== 2 || begin === undefined || end === undefined) return fail('data_offsets must be two whole numbers');
  if (begin > end) fail(`data_offsets [${begin}, ${end}] run backwards`);
  if (end > dataBytes) fail(`data_offsets [${begin}, ${end}] reach past the ${dataBytes} data bytes; the file is cut off`);
  let need: number = BYTES[dtype as SafetensorsDType];
  // Zero extents are left out of the overflow check's product, so that no order of extents hides an absurd one.
  for (const extent of shape) if (extent > 0) need *= extent;
  if (need >= 2 ** 53) fail(`the shape ${formatShape(shape)} has more than 2^53 bytes`);
  if (shape.includes(0)) need = 0;
  if (end - begin !== need) fail(`data_offsets [${begin}, ${end}] hold ${end - begin} bytes, but ${dtype} ${formatShape(shape)} needs ${need}`);
  return { dtype: dtype as SafetensorsDType, shape, begin, end };
}

function naturals(value: JsonValue | undefined): readonly number[] | undefined {
  if (!isArray(value)) return undefined;
  return value.every((item): item is number => typeof item === 'number') ? value : undefined;
}

function labelled<T>(label: string | undefined, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (label && error instanceof FormatError) throw new FormatError(FORMAT, `${label}: ${error.message.slice(FORMAT.length + 2)}`);
    throw error;
  }
}

export interface WriteEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: Shape;
  /** The elements in row-major order; its bytes are written as they are (little-endian hosts only, as every browser is). */
  readonly data: ArrayBufferView;
}

/**
 * The bytes of a file. Tensors keep the order given, except that wider elements come first, so that every tensor is aligned to its
 * own element; the data begin at a multiple of 8. The default metadata `format: pt` is what PyTorch-side loaders ask for.
 */
export function writeSafetensors(tensors: Iterable<readonly [string, WriteEntry]>, metadata: ReadonlyMap<string, string> = new Map([['format', 'pt']])): Uint8Array<ArrayBuffer> {
  const list = [...tensors].sort((a, b) => BYTES[b[1].dtype] - BYTES[a[1].dtype]);
  const header: string[] = [];
  if (metadata.size) header.push(`"__metadata__":{${[...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`);
  const seen = new Set<string>(['__metadata__']);
  let end = 0;
  for (const [name, { dtype, shape, data }] of list) {
    if (seen.has(name) || !TENSOR_NAME.test(name)) throw new FormatError(FORMAT, `cannot write a tensor called ${quote(name)}: ${seen.has(name) ? 'the name is taken' : 'the name must match ' + TENSOR_NAME.source}`);
    seen.add(name);
    const need = elements(shape) * BYTES[dtype];
    if (data.byteLength !== need) throw new FormatError(FORMAT, `cannot write tensor ${quote(name)}: got ${data.byteLength} bytes, but ${dtype} ${formatShape(shape)} needs ${need}`);
    header.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${end},${end + need}]}`);
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
  if (entry.dtype !== 'F32') return Float32Array.from(toFloat64(entry));
  return new Float32Array(new Uint8Array(entry.bytes).buffer);
}

/** The elements as i32 in a fresh array; a FormatError when one is not a whole number of that range. */
export function toInt32(entry: SafetensorsEntry): Int32Array<ArrayBuffer> {
  if (entry.dtype === 'I32') return new Int32Array(new Uint8Array(entry.bytes).buffer);
  const values = toFloat64(entry);
  const out = Int32Array.from(values);
  const bad = out.findIndex((value, i) => value !== values[i]);
  if (bad >= 0) throw new FormatError(FORMAT, `${entry.dtype} element ${bad} is ${values[bad]}, which is no 32-bit whole number`);
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
  F64: (v, at) => v.getFloat64(at, true), F32: (v, at) => v.getFloat32(at, true), F16: (v, at) => halfToNumber(v.getUint16(at, true)),
  BF16: (v, at) => bfloatToNumber(v.getUint16(at, true)), I64: (v, at) => Number(v.getBigInt64(at, true)), U64: (v, at) => Number(v.getBigUint64(at, true)),
  I32: (v, at) => v.getInt32(at, true), U32: (v, at) => v.getUint32(at, true), I16: (v, at) => v.getInt16(at, true), U16: (v, at) => v.getUint16(at, true),
  I8: (v, at) => v.getInt8(at), U8: (v, at) => v.getUint8(at), BOOL: (v, at) => (v.getUint8(at) ? 1 : 0),
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

/** The first element that is NaN or infinite, or -1. */
export function firstNonFinite(values: ArrayLike<number>): number {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i;
  return -1;
}
