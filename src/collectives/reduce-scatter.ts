// Reduce-scatter: out of member i = sum over j of x_j[part i] (or max). Parts may be uneven or empty; a part that is everything makes it a reduce to one root.
// The owner of a part receives each peer's contribution separately and combines in f32 in the order of ranks 0, 1, ... P - 1, so the result
// depends on neither topology nor timing. 1 step, S minus the own part in bytes: equal parts (P - 1) / P * S, as the ring. Long parts go
// in pieces of 1 MiB, two under way, so the owner holds at most 2 (P - 1) MiB.

import { InternalError } from '../base/errors.ts';
import type { Group, Operation } from './group.ts';
import { checkParts, partSize } from './parts.ts';

export type Reduction = 'sum' | 'max';
const PIECE = 262144;
const PIECES_AHEAD = 2;

/** `x` is only read, except where `out` is the own part of `x`, which is allowed. */
export async function reduceScatter(
  group: Group, x: Float32Array<ArrayBuffer>, partOffsets: readonly number[], out: Float32Array<ArrayBuffer>, reduction: Reduction = 'sum',
  operation: Operation = group.begin('reduce-scatter'),
): Promise<void> {
  const { rank, size } = group;
  checkParts('reduce-scatter', partOffsets, size, x.length);
  const count = partSize(partOffsets, rank);
  if (out.length !== count) throw new InternalError(`reduce-scatter: expected an output of ${count} elements on member ${rank}, got ${out.length}`);
  const own = x.subarray(partOffsets[rank]!, partOffsets[rank + 1]!);
  if (size === 1) { out.set(own); return; }
  await Promise.all([scatter(group, x, partOffsets, operation), reduce(group, own, out, reduction, operation)]);
}

/** Sends each owner our contribution, the first pieces of all owners first, starting behind ourselves so that no owner is everybody's first. */
async function scatter({ rank, size }: Group, x: Float32Array<ArrayBuffer>, partOffsets: readonly number[], operation: Operation): Promise<void> {
  const sent: Promise<void>[] = [];
  for (let piece = 0; piece < pieceCount(partOffsets); piece++) {
    for (let step = 1; step < size; step++) {
      const owner = (rank + step) % size;
      const end = partOffsets[owner + 1]!;
      const start = partOffsets[owner]! + piece * PIECE;
      if (start < end || piece === 0) sent.push(operation.send(owner, piece, x.subarray(start, Math.min(end, start + PIECE))));
    }
  }
  await Promise.all(sent);
}

async function reduce({ rank, size }: Group, own: Float32Array<ArrayBuffer>, out: Float32Array<ArrayBuffer>, reduction: Reduction, operation: Operation): Promise<void> {
  const pieces = Math.max(1, Math.ceil(out.length / PIECE));
  const combine = reduction === 'sum' ? addInto : maxInto;
  const ahead: { buffers: Float32Array<ArrayBuffer>[]; received: (Promise<void> | undefined)[] }[] = [];
  const post = (piece: number, reuse?: Float32Array<ArrayBuffer>[]): void => {
    const length = Math.min(PIECE, out.length - piece * PIECE);
    const buffers = Array.from({ length: size }, (_, from) => (from === rank
      ? own.subarray(piece * PIECE, piece * PIECE + length)
      : (reuse?.[from]?.subarray(0, length) ?? new Float32Array(length))));
    ahead[piece] = { buffers, received: buffers.map((buffer, from) => (from === rank ? undefined : operation.recv(from, piece, buffer))) };
  };
  for (let piece = 0; piece < Math.min(PIECES_AHEAD, pieces); piece++) post(piece);
  for (let piece = 0; piece < pieces; piece++) {
    const { buffers, received } = ahead[piece]!;
    // The sum grows in the lowest rank's buffer, never in `own` before its turn, because `out` may be `own`.
    const target = rank === 0 ? out.subarray(piece * PIECE, piece * PIECE + buffers[0]!.length) : buffers[0]!;
    await received[0];
    if (rank === 0 && !sameMemory(target, buffers[0]!)) target.set(buffers[0]!);
    for (let from = 1; from < size; from++) {
      await received[from];
      combine(target, buffers[from]!);
    }
    if (rank !== 0) out.set(target, piece * PIECE);
    delete ahead[piece];
    if (piece + PIECES_AHEAD < pieces) post(piece + PIECES_AHEAD, buffers);
  }
}

function addInto(target: Float32Array, x: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i]! += x[i]!;
}

/** NaN wins, so that a poisoned maximum is seen. */
function maxInto(target: Float32Array, x: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = Math.max(target[i]!, x[i]!);
}

function sameMemory(a: Float32Array, b: Float32Array): boolean { return a.buffer === b.buffer && a.byteOffset === b.byteOffset; }

/** Messages to the owner of the longest part; the others get fewer. */
export function pieceCount(partOffsets: readonly number[]): number {
  let longest = 0;
  for (let i = 1; i < partOffsets.length; i++) longest = Math.max(longest, partOffsets[i]! - partOffsets[i - 1]!);
  return Math.max(1, Math.ceil(longest / PIECE));
}

/** Payload bytes that `rank` sends. */
export function reduceScatterBytes(rank: number, partOffsets: readonly number[]): number {
  return 4 * (partOffsets.at(-1)! - partSize(partOffsets, rank));
}
