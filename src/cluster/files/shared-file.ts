// A file that lies on some tabs of a room and reaches the others over the mesh: what a job says of it. It is cut into
// chunks; `hash` is the SHA-256 of the list of the SHA-256 of its chunks (a hash tree of one level), so that a wrong
// chunk is known, and its sender, before the file is whole. SHA-256 is `@noble/hashes`: WebCrypto's is missing without
// https.

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { FormatError, LimitError } from '../../base/errors.ts';
import { formatBytes } from '../../base/format-bytes.ts';
import { plainText } from '../../base/plain-text.ts';
import { nextTask } from '../../base/world.ts';

export interface SharedFile {
  /** For people. */
  readonly name: string;
  readonly bytes: number;
  /** 64 hex digits, see above. */
  readonly hash: string;
}

/**
 * A chunk is a message that goes without being asked for (EAGER_BYTES), so the credits of its link bound what is on its
 * way.
 */
export const CHUNK_BYTES = 256 * 1024;
export const HASH_BYTES = 32;
/** Most bytes that the files of one job may have in all: a tab holds them in memory. */
export const MAX_SHARED_BYTES = 2 ** 31;
export const MAX_NAME_LENGTH = 120;
/** Chunks that are hashed before other tasks of the thread have their turn. */
const CHUNKS_PER_TASK = 32;

export function chunkCount(bytes: number): number {
  return Math.ceil(bytes / CHUNK_BYTES);
}

export function chunkOf(bytes: Uint8Array<ArrayBuffer>, chunk: number): Uint8Array<ArrayBuffer> {
  return bytes.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
}

export function sha256Of(bytes: Uint8Array): Uint8Array {
  return sha256(bytes);
}

/** The hash that a list of chunk hashes belongs to. */
export function hashOfList(list: Uint8Array): string {
  return bytesToHex(sha256(list));
}

/** The SHA-256 of all chunks, one behind the other. Lets other tasks of this thread in. */
export async function chunkHashes(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const chunks = chunkCount(bytes.length);
  const list = new Uint8Array(chunks * HASH_BYTES);
  for (let chunk = 0; chunk < chunks; chunk++) {
    if (chunk % CHUNKS_PER_TASK === CHUNKS_PER_TASK - 1) await nextTask();
    list.set(sha256(chunkOf(bytes, chunk)), chunk * HASH_BYTES);
  }
  return list;
}

/**
 * What a job says of these bytes. Rejects with LimitError for a file that is empty or larger than all files of a job
 * may be.
 */
export async function describeFile(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<SharedFile> {
  if (bytes.length === 0 || bytes.length > MAX_SHARED_BYTES) {
    throw new LimitError(
      `${name}: expected 1 B to ${formatBytes(MAX_SHARED_BYTES)} for a file that a room shares, got ${formatBytes(bytes.length)}; train on it with the virtual devices of this tab`,
    );
  }
  return {
    name: plainText(name, MAX_NAME_LENGTH) || 'file',
    bytes: bytes.length,
    hash: hashOfList(await chunkHashes(bytes)),
  };
}

/** Strict: another person's page wrote it. Throws FormatError. */
export function parseSharedFile(value: unknown, where: string): SharedFile {
  const { name, bytes, hash, ...rest } = (
    typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
  ) as Record<string, unknown>;
  if (typeof name !== 'string' || name === '' || name.length > MAX_NAME_LENGTH)
    throw new FormatError(where, `expected a name of 1 to ${MAX_NAME_LENGTH} characters`);
  // It is shown in questions and in errors.
  if (name !== plainText(name, MAX_NAME_LENGTH)) throw new FormatError(where, 'expected a name of visible characters');
  if (typeof bytes !== 'number' || !Number.isInteger(bytes) || bytes < 1)
    throw new FormatError(where, 'expected a whole number of bytes, at least 1');
  if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash))
    throw new FormatError(where, 'expected a hash of 64 hex digits');
  for (const unknown of Object.keys(rest)) throw new FormatError(where, `unknown field "${unknown.slice(0, 40)}"`);
  return { name, bytes, hash };
}

/** Throws LimitError for files that are too many bytes in all. */
export function checkSum(files: readonly SharedFile[]): void {
  const sum = files.reduce((bytes, file) => bytes + file.bytes, 0);
  if (sum <= MAX_SHARED_BYTES) return;
  const largest = files.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  throw new LimitError(
    `files: expected at most ${formatBytes(MAX_SHARED_BYTES)} in all, got ${formatBytes(sum)}, of which "${largest.name}" has ${formatBytes(largest.bytes)}; a tab holds them in memory`,
  );
}
