// The header of a safetensors file: u64 little-endian length, then JSON with dtype, shape and place of each tensor. The
// reader is total: it returns what the header says or throws a FormatError, and allocates nothing beyond it. It is
// stricter than the format's own library: no duplicate keys, no unknown fields, names from a small alphabet. A header
// of 100 MB, the format's limit, takes seconds.
// Source: https://github.com/huggingface/safetensors (README, "Format").

import { FormatError } from './errors.ts';
import { decodeUtf8, isArray, isObject, parseJson, quote, type JsonValue } from './json.ts';
import { formatShape, type Shape } from './shape.ts';

export const BYTES = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;
export type SafetensorsDType = keyof typeof BYTES;

/** Bits per element of types that the format has and nothing here computes with. */
const FOREIGN_BITS: Readonly<Record<string, number>> = {
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
  C64: 64,
};

export interface ReadOptions {
  /** Default MAX_HEADER_BYTES, the format's own limit. */
  readonly maxHeaderBytes?: number;
  /** What every tensor name must match; default letters, digits and `._/-`, 1 to 128 of them. */
  readonly names?: RegExp;
  /** Exactly these tensors, no more and no fewer. */
  readonly expected?: ReadonlySet<string>;
  /** The file's name, for errors. */
  readonly label?: string;
}

/** What the header says of a tensor: bytes [begin, end) of the data behind the header. */
export interface TensorPlace {
  readonly name: string;
  readonly dtype: string;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly places: readonly TensorPlace[];
  readonly metadata: ReadonlyMap<string, string>;
}

export const TENSOR_NAME = /^[A-Za-z0-9._/-]{1,128}$/;
/** The format allows no longer header. */
export const MAX_HEADER_BYTES = 100_000_000;
const FORMAT = 'safetensors';
const DTYPE_NAME = /^[A-Z][A-Z0-9_]{0,31}$/;

/**
 * Length of the header of a file of `fileBytes` bytes that begins with `start`, of which 8 bytes are enough and more
 * give better errors.
 */
export function headerLength(start: Uint8Array, fileBytes: number, options: ReadOptions = {}): number {
  const { maxHeaderBytes = MAX_HEADER_BYTES, label } = options;
  const fail = failure(label);
  if (fileBytes < 8) return fail(`expected at least 8 bytes, got ${fileBytes}; the file is cut off or empty`);
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const headerBytes = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (headerBytes > maxHeaderBytes) {
    return fail(
      `the header claims ${headerBytes} bytes, but at most ${maxHeaderBytes} are accepted; ${otherFormat(start)}`,
    );
  }
  if (headerBytes > fileBytes - 8) {
    return fail(`the header claims ${headerBytes} bytes, but only ${fileBytes - 8} follow; the file is cut off`);
  }
  return headerBytes;
}

/** What a file that is no safetensors looks like, and what to do. */
function otherFormat(start: Uint8Array): string {
  const text = String.fromCharCode(...start.subarray(0, 16));
  if (text.startsWith('version ')) return 'it is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`';
  if (text.startsWith('PK\x03\x04') || text.startsWith('\x80\x02')) {
    return 'it is a pickled PyTorch file; convert it with safetensors.torch.save_file';
  }
  if (text.startsWith('GGUF')) return 'it is a GGUF file; take the safetensors of that model';
  if (/^\s*<(!doctype|html|\?xml)/i.test(text)) return 'it is a web page; download the file itself';
  return 'is this a safetensors file?';
}

/**
 * The tensors in the order of their bytes, which are a partition of the `dataBytes` bytes behind the header. `header`
 * is its JSON.
 */
export function readHeader(header: Uint8Array, dataBytes: number, options: ReadOptions = {}): SafetensorsHeader {
  const { names = TENSOR_NAME, expected, label } = options;
  const fail = failure(label);
  if (header[0] !== 0x7b) fail('the header must begin with {');
  const json = labelled(label, () =>
    parseJson(decodeUtf8(header, FORMAT), { format: FORMAT, maxDepth: 3, naturalsOnly: true }),
  );
  if (!isObject(json)) return fail('the header must be an object');

  const metadata = new Map<string, string>();
  const places: TensorPlace[] = [];
  for (const [name, value] of json) {
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
    const info = checkInfo(value, dataBytes, (detail) => fail(`tensor ${quote(name)}: ${detail}`));
    if (expected && !isOurs(info.dtype)) {
      fail(`tensor ${quote(name)}: expected one of ${Object.keys(BYTES).join(', ')}, got ${info.dtype}`);
    }
    places.push({ name, ...info });
  }
  if (expected) for (const name of expected) if (!json.has(name)) fail(`the tensor ${quote(name)} is missing`);

  // Empty tensors come before a tensor that begins at the same byte.
  places.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  for (const t of places) {
    if (t.begin > end) {
      fail(
        `tensor ${quote(t.name)} begins at byte ${t.begin}, but the tensor before it ends at ${end}: a hole of ${t.begin - end} bytes`,
      );
    }
    if (t.begin < end) {
      fail(`tensor ${quote(t.name)} begins at byte ${t.begin}, inside the tensor before it, which ends at ${end}`);
    }
    end = t.end;
  }
  if (end !== dataBytes) {
    fail(`the tensors end at byte ${end} of ${dataBytes} data bytes; ${dataBytes - end} bytes belong to nothing`);
  }
  return { places, metadata };
}

function failure(label: string | undefined): (detail: string) => never {
  return (detail) => {
    throw new FormatError(FORMAT, label ? `${label}: ${detail}` : detail);
  };
}

/** A type whose values are read here. */
export function isOurs(dtype: string): dtype is SafetensorsDType {
  return Object.hasOwn(BYTES, dtype);
}

/**
 * The three fields of a tensor's header entry, with offsets that lie inside the data and agree with dtype and shape.
 */
function checkInfo(value: JsonValue, dataBytes: number, fail: (detail: string) => never): Omit<TensorPlace, 'name'> {
  if (!isObject(value)) return fail('expected an object with dtype, shape and data_offsets');
  for (const key of value.keys())
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') fail(`unknown field ${quote(key)}`);
  const dtype = value.get('dtype');
  if (typeof dtype !== 'string' || !DTYPE_NAME.test(dtype)) {
    const got = typeof dtype === 'string' ? quote(dtype) : 'no string';
    return fail(`dtype must be the name of a type, such as ${Object.keys(BYTES).join(', ')}, got ${got}`);
  }
  const shape = naturals(value.get('shape'));
  if (!shape) return fail('shape must be a list of whole numbers');
  const offsets = naturals(value.get('data_offsets'));
  const [begin, end] = offsets ?? [];
  if (offsets?.length !== 2 || begin === undefined || end === undefined) {
    return fail('data_offsets must be two whole numbers');
  }
  if (begin > end) fail(`data_offsets [${begin}, ${end}] run backwards`);
  if (end > dataBytes) {
    fail(`data_offsets [${begin}, ${end}] reach past the ${dataBytes} data bytes; the file is cut off`);
  }
  const bits = isOurs(dtype) ? 8 * BYTES[dtype] : Object.hasOwn(FOREIGN_BITS, dtype) ? FOREIGN_BITS[dtype]! : undefined;
  // Of a type that nobody here has heard of, the offsets alone say how long it is.
  if (bits === undefined) return { dtype, shape, begin, end };
  let need: number = bits / 8;
  // Zero extents are left out of the overflow check's product, so that no order of extents hides an absurd one.
  for (const extent of shape) if (extent > 0) need *= extent;
  if (need >= 2 ** 53) fail(`the shape ${formatShape(shape)} has more than 2^53 bytes`);
  if (shape.includes(0)) need = 0;
  // Elements of 4 and 6 bits are packed; the last byte may not be full.
  need = Math.ceil(need);
  if (end - begin !== need) {
    fail(`data_offsets [${begin}, ${end}] hold ${end - begin} bytes, but ${dtype} ${formatShape(shape)} needs ${need}`);
  }
  return { dtype, shape, begin, end };
}

function naturals(value: JsonValue | undefined): readonly number[] | undefined {
  if (!isArray(value)) return undefined;
  return value.every((item): item is number => typeof item === 'number') ? value : undefined;
}

function labelled<T>(label: string | undefined, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (label && error instanceof FormatError) {
      throw new FormatError(FORMAT, `${label}: ${error.message.slice(FORMAT.length + 2)}`);
    }
    throw error;
  }
}
