// The weights of a model folder as the bytes of one safetensors file: model.safetensors as it is, or the shards that
// model.safetensors.index.json names, joined. Read straight into place, so that large weights are in memory once.

import { closeSync, existsSync, openSync, readSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, FormatError, LimitError } from '../../base/errors.ts';
import { formatBytes } from '../../base/format-bytes.ts';
import { decodeUtf8, isObject, parseJson, quote } from '../../base/json.ts';
import { headerLength, readHeader, type TensorPlace } from '../../base/safetensors-header.ts';
import { readWholeFile } from '../../server/whole-file.ts';

export const WEIGHTS_FILE = 'model.safetensors';
const INDEX_FILE = 'model.safetensors.index.json';
/** readSync takes at most 2^31 - 1 bytes. */
const CHUNK_BYTES = 2 ** 30;

/** What other formats of weights are called, and what to do about them. */
const OTHERS: readonly (readonly [RegExp, string])[] = [
  [
    /\.(?:bin|pt|pth|ckpt)$/,
    'is pickled; convert it with transformers: ' +
      'AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER, safe_serialization=True)',
  ],
  [/\.gguf$/, 'is quantized for inference; take the safetensors of that model'],
  [/\.(?:h5|msgpack|onnx)$/, 'is of another library; take the safetensors of that model'],
];

/**
 * ConfigError names `where`, the option that asked for the folder; FormatError names the file that breaks the format.
 */
export function readModelWeights(folder: string, where: string): Uint8Array<ArrayBuffer> {
  if (existsSync(join(folder, WEIGHTS_FILE))) return readWhole(join(folder, WEIGHTS_FILE), where);
  if (existsSync(join(folder, INDEX_FILE))) return readShards(folder, where);
  const names = told(folder, where, () => readdirSync(folder)).sort();
  for (const [pattern, advice] of OTHERS) {
    const found = names.find((name) => pattern.test(name));
    if (found !== undefined) throw new ConfigError(where, `'${folder}' has no ${WEIGHTS_FILE}; its ${found} ${advice}`);
  }
  const others = names.filter((name) => name.endsWith('.safetensors'));
  const shards = others.some((name) => /-\d+-of-\d+\.safetensors$/.test(name));
  const hint = shards
    ? `the shards (${others[0]}, ...) need their ${INDEX_FILE} beside them`
    : others.length
      ? `if ${others[0]} holds the weights, call it so`
      : 'download it too';
  throw new ConfigError(where, `'${folder}' has no ${WEIGHTS_FILE}; ${hint}`);
}

function readWhole(path: string, where: string): Uint8Array<ArrayBuffer> {
  return told(path, where, () =>
    withFile(path, (file, size) => {
      const bytes = allocate(size, path);
      fill(file, bytes, 0, path);
      return bytes;
    }),
  );
}

interface Shard {
  readonly path: string;
  readonly name: string;
  readonly dataStart: number;
  readonly dataBytes: number;
  readonly places: readonly TensorPlace[];
}

function readShards(folder: string, where: string): Uint8Array<ArrayBuffer> {
  const index = readIndex(join(folder, INDEX_FILE), where);
  const names = [...new Set(index.values())].sort();
  const missing = names.filter((name) => !existsSync(join(folder, name)));
  if (missing.length) {
    const listed =
      missing.length > 3 ? `${missing.slice(0, 3).join(', ')} and ${missing.length - 3} more` : missing.join(', ');
    throw new ConfigError(
      where,
      `${INDEX_FILE} names ${listed}, but '${folder}' has only ` +
        `${names.length - missing.length} of ${names.length} shards; download all of them`,
    );
  }
  const shards = names.map((name) => readShardHeader(join(folder, name), name, where));
  checkAgainst(index, shards);
  const [header, dataBytes] = joinedHeader(shards);
  const bytes = allocate(8 + header.length + dataBytes, folder);
  new DataView(bytes.buffer).setUint32(0, header.length, true);
  bytes.set(header, 8);
  let at = 8 + header.length;
  for (const { path, dataStart, dataBytes: length } of shards) {
    told(path, where, () => withFile(path, (file) => fill(file, bytes.subarray(at, at + length), dataStart, path)));
    at += length;
  }
  return bytes;
}

/** Name of each tensor -> name of its shard. */
function readIndex(path: string, where: string): ReadonlyMap<string, string> {
  const json = parseJson(
    decodeUtf8(
      told(path, where, () => readWholeFile(path)),
      INDEX_FILE,
    ),
    { format: INDEX_FILE, maxDepth: 8 },
  );
  const map = isObject(json) ? json.get('weight_map') : undefined;
  if (!isObject(map) || map.size === 0) {
    throw new FormatError(INDEX_FILE, 'expected an object with weight_map, which names the shard of each weight');
  }
  const index = new Map<string, string>();
  for (const [name, shard] of map) {
    // A name with a path in it could be any file of this machine.
    if (typeof shard !== 'string' || !/^[\w.-]+\.safetensors$/.test(shard)) {
      throw new FormatError(
        INDEX_FILE,
        `weight_map: ${quote(name)}: expected the name of a .safetensors file in the same folder`,
      );
    }
    index.set(name, shard);
  }
  return index;
}

function readShardHeader(path: string, name: string, where: string): Shard {
  return told(path, where, () =>
    withFile(path, (file, size) => {
      const start = new Uint8Array(Math.min(size, 64));
      fill(file, start, 0, path);
      const length = headerLength(start, size, { label: name });
      const header = new Uint8Array(length);
      fill(file, header, 8, path);
      const dataBytes = size - 8 - length;
      return {
        path,
        name,
        dataStart: 8 + length,
        dataBytes,
        places: readHeader(header, dataBytes, { label: name }).places,
      };
    }),
  );
}

/** FormatError where the shards hold something else than the index says. */
function checkAgainst(index: ReadonlyMap<string, string>, shards: readonly Shard[]): void {
  const found = new Map<string, string>();
  for (const { name: shard, places } of shards) {
    for (const { name } of places) {
      const other = found.get(name);
      if (other !== undefined) {
        throw new FormatError(
          INDEX_FILE,
          `the weight ${name} stands in ${other} and in ${shard}; download the folder again`,
        );
      }
      found.set(name, shard);
    }
  }
  for (const [name, shard] of index) {
    const there = found.get(name);
    if (there !== shard) {
      throw new FormatError(
        INDEX_FILE,
        `expected the weight ${quote(name)} in ${shard}, but ` +
          `${there === undefined ? 'no shard has it' : `it is in ${there}`}; download the folder again`,
      );
    }
  }
}

/** The header of the shards' data one behind the other, and its length in bytes. */
function joinedHeader(shards: readonly Shard[]): readonly [Uint8Array, number] {
  const entries: string[] = [];
  let base = 0;
  for (const { places, dataBytes } of shards) {
    for (const { name, dtype, shape, begin, end } of places) {
      const offsets = `[${base + begin},${base + end}]`;
      entries.push(
        `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":${offsets}}`,
      );
    }
    base += dataBytes;
  }
  const json = `{${entries.join(',')}}`;
  return [new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8)), base];
}

function allocate(bytes: number, path: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch {
    throw new LimitError(
      `'${path}': the weights are ${formatBytes(bytes)}, more than this process can hold in one piece`,
    );
  }
}

function withFile<T>(path: string, work: (file: number, size: number) => T): T {
  const stat = statSync(path);
  if (!stat.isFile()) throw new Error('it is no file');
  const file = openSync(path, 'r');
  try {
    return work(file, stat.size);
  } finally {
    closeSync(file);
  }
}

function fill(file: number, bytes: Uint8Array, from: number, path: string): void {
  for (let at = 0; at < bytes.length;) {
    const got = readSync(file, bytes, at, Math.min(CHUNK_BYTES, bytes.length - at), from + at);
    if (got === 0) throw new Error(`it became shorter while it was read: ${path}`);
    at += got;
  }
}

/** Runs `work`; what the system refuses becomes a ConfigError of `where`. */
function told<T>(path: string, where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ConfigError || error instanceof FormatError || error instanceof LimitError) throw error;
    throw new ConfigError(
      where,
      `'${path}' cannot be read (${error instanceof Error ? error.message : String(error)})`,
    );
  }
}
