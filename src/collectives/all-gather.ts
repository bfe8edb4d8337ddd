// All-gather: out[part j] = the part of member j, on every member. Parts may be uneven or empty.
// Up to 256 KiB in all: each member sends its part to all others, 1 step, (P - 1) part bytes. Larger: ring; in step t member r passes part (r - t) mod P to
// r + 1 and receives part (r - t - 1) mod P from r - 1; P - 1 steps, S minus the next member's part. Equal parts: (P - 1) / P * S either way.

import { InternalError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import type { Group, Operation } from './group.ts';
import { checkParts, partSize } from './parts.ts';

const DIRECT_BYTES = 256 * 1024;

/** `part` may be the own part of `out` itself. `firstChunk` numbers the messages when the operation has others. */
export async function allGather(
  group: Group, part: TypedArray, partOffsets: readonly number[], out: TypedArray, operation: Operation = group.begin('all-gather'), firstChunk = 0,
): Promise<void> {
  const { rank, size } = group;
  checkParts('all-gather', partOffsets, size, out.length);
  if (part.length !== partSize(partOffsets, rank)) throw new InternalError(`all-gather: expected a part of ${partSize(partOffsets, rank)} elements on member ${rank}, got ${part.length}`);
  const parts = Array.from({ length: size }, (_, i) => out.subarray(partOffsets[i]!, partOffsets[i + 1]!));
  const own = parts[rank]!;
  if (own.buffer !== part.buffer || own.byteOffset !== part.byteOffset) own.set(part);
  const pending = isDirect(out.length) ? direct(rank, parts, operation, firstChunk) : ring(rank, parts, operation, firstChunk);
  await pending;
}

async function direct(rank: number, parts: readonly TypedArray[], operation: Operation, chunk: number): Promise<void> {
  const size = parts.length;
  const pending: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const from = (rank - step + size) % size;
    pending.push(operation.recv(from, chunk, parts[from]!));
  }
  for (let step = 1; step < size; step++) pending.push(operation.send((rank + step) % size, chunk, parts[rank]!));
  await Promise.all(pending);
}

async function ring(rank: number, parts: readonly TypedArray[], operation: Operation, firstChunk: number): Promise<void> {
  const size = parts.length;
  const partAt = (step: number): TypedArray => parts[(rank - step + size) % size]!;
  const received: Promise<void>[] = [];
  for (let step = 0; step < size - 1; step++) received.push(operation.recv((rank - 1 + size) % size, firstChunk + step, partAt(step + 1)));
  const sent: Promise<void>[] = [];
  for (let step = 0; step < size - 1; step++) {
    if (step > 0) await received[step - 1];
    sent.push(operation.send((rank + 1) % size, firstChunk + step, partAt(step)));
  }
  await Promise.all([...received, ...sent]);
}

/** Payload bytes that `rank` sends. */
export function allGatherBytes(rank: number, partOffsets: readonly number[]): number {
  const size = partOffsets.length - 1;
  const count = partOffsets[size]!;
  if (isDirect(count)) return 4 * (size - 1) * partSize(partOffsets, rank);
  return size === 1 ? 0 : 4 * (count - partSize(partOffsets, (rank + 1) % size));
}

function isDirect(count: number): boolean { return 4 * count <= DIRECT_BYTES; }
