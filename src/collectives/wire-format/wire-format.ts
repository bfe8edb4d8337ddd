// How f32 numbers travel. f32: as they are. f16, bf16: 2 bytes each (half.ts). int8: 1 byte each and 4 per block of 256
// (int8-blocks.ts). Errors of one passage are in those files. Payloads are whole u32 words; the padding counts as
// payload. Sums are always taken in f32, of what has been decoded. A passage rounds once: owner routes and moves round
// each contribution once, all-reduce also its total; a ring of partial sums rounds at each of its P - 1 hops.

import { InternalError } from '../../base/errors.ts';
import type { DType, TypedArray } from '../../base/shape.ts';
import type { WireFormat } from '../../transport/arguments.ts';
import type { Operation } from '../group.ts';
import { decodeBrain, decodeHalf, encodeBrain, encodeHalf } from './half.ts';
import { decodeInt8, encodeInt8, int8Words } from './int8-blocks.ts';

/** Bytes of `count` numbers on the wire. */
export function wireBytes(format: WireFormat, count: number): number {
  if (format === 'f32') return 4 * count;
  return 4 * (format === 'int8' ? int8Words(count) : Math.ceil(count / 2));
}

/** Writes `x` into `words`, wireBytes / 4 of them. */
export function encode(
  format: WireFormat,
  x: Float32Array<ArrayBuffer>,
  words = new Uint32Array(wireBytes(format, x.length) / 4),
): Uint32Array<ArrayBuffer> {
  if (words.byteLength !== wireBytes(format, x.length))
    throw new InternalError(
      `${format}: ${x.length} numbers take ${wireBytes(format, x.length)} bytes, got room for ${words.byteLength}`,
    );
  if (format === 'f32') words.set(new Uint32Array(x.buffer, x.byteOffset, x.length));
  else if (format === 'f16') encodeHalf(x, words);
  else if (format === 'bf16') encodeBrain(x, words);
  else encodeInt8(x, words);
  return words;
}

/** Fills `out` from the words that `encode` gives for as many numbers; any words give numbers. */
export function decode(format: WireFormat, words: Uint32Array<ArrayBuffer>, out: Float32Array<ArrayBuffer>): void {
  if (words.byteLength !== wireBytes(format, out.length))
    throw new InternalError(
      `${format}: ${out.length} numbers take ${wireBytes(format, out.length)} bytes, got ${words.byteLength}`,
    );
  if (format === 'f32') new Uint32Array(out.buffer, out.byteOffset, out.length).set(words);
  else if (format === 'f16') decodeHalf(words, out);
  else if (format === 'bf16') decodeBrain(words, out);
  else decodeInt8(words, out);
}

/** Sends `x` in `format`; integers travel as they are. */
export function sendAs(
  operation: Operation,
  to: number,
  chunk: number,
  x: TypedArray,
  format: WireFormat,
): Promise<void> {
  return operation.send(to, chunk, format !== 'f32' && x instanceof Float32Array ? encode(format, x) : x);
}

/** Receives what `sendAs` sent; `out` is filled when it resolves. */
export async function recvAs(
  operation: Operation,
  from: number,
  chunk: number,
  out: TypedArray,
  format: WireFormat,
): Promise<void> {
  if (format === 'f32' || !(out instanceof Float32Array)) return operation.recv(from, chunk, out);
  const words = new Uint32Array(wireBytes(format, out.length) / 4);
  await operation.recv(from, chunk, words);
  decode(format, words, out);
}

/** Payload bytes of a message whose receiver does not know its length. */
export function sizedBytes(format: WireFormat, count: number): number {
  return format === 'f32' ? 4 * count : 4 + wireBytes(format, count);
}

/**
 * Sends `x`, whose length the receiver does not know: as it is, or packed as message `chunk + 1` behind its count,
 * which padding would hide.
 */
export async function sendSized(
  operation: Operation,
  to: number,
  chunk: number,
  x: TypedArray,
  format: WireFormat,
): Promise<void> {
  if (format === 'f32' || !(x instanceof Float32Array)) return operation.send(to, chunk, x);
  await Promise.all([
    operation.send(to, chunk, Uint32Array.of(x.length)),
    operation.send(to, chunk + 1, encode(format, x)),
  ]);
}

/** Receives what `sendSized` sent: at most `maxCount` numbers. A longer message fails with both sides' signatures. */
export async function recvSized(
  operation: Operation,
  from: number,
  chunk: number,
  dtype: DType,
  maxCount: number,
  format: WireFormat,
): Promise<TypedArray> {
  if (format === 'f32' || dtype !== 'f32') return operation.recvUpTo(from, chunk, dtype, maxCount);
  const told = new Uint32Array(1);
  await operation.recv(from, chunk, told);
  const count = told[0]!;
  const sent = wireBytes(format, count) / 4;
  // Nothing is allocated from a count that exceeds what was allowed: then another length is awaited than comes, and the
  // link tells everybody.
  const most = wireBytes(format, maxCount) / 4;
  const words = new Uint32Array(count <= maxCount ? sent : most + 1 === sent ? most + 2 : most + 1);
  await operation.recv(from, chunk + 1, words);
  // Its message is not as long as its count says either.
  if (count > maxCount)
    throw operation.accuse(
      from,
      `it counts ${count} numbers in a message of at most ${maxCount}, and sends ${4 * words.length} bytes`,
    );
  const out = new Float32Array(count);
  decode(format, words, out);
  return out;
}
