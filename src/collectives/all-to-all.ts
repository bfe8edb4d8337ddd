// All-to-all: block j of member i becomes block i of member j. One step, to every other member directly.
// Equal blocks: (P - 1) / P * S_local bytes. Variable blocks: the sizes are known to the senders only; each sends everything but its own block.

import { InternalError } from '../base/errors.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import type { Group, Operation } from './group.ts';

/** `x` and `out` hold P blocks of equal length, and must not overlap. */
export async function allToAll(group: Group, x: TypedArray, out: TypedArray, operation: Operation = group.begin('all-to-all')): Promise<void> {
  const { rank, size } = group;
  if (x.length % size || out.length !== x.length) throw new InternalError(`all-to-all: expected ${size} equal blocks in and out, got ${x.length} and ${out.length} elements`);
  const block = x.length / size;
  out.set(x.subarray(rank * block, (rank + 1) * block), rank * block);
  const pending: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const from = (rank - step + size) % size;
    pending.push(operation.recv(from, 0, out.subarray(from * block, (from + 1) * block)));
  }
  for (let step = 1; step < size; step++) {
    const to = (rank + step) % size;
    pending.push(operation.send(to, 0, x.subarray(to * block, (to + 1) * block)));
  }
  await Promise.all(pending);
}

/** Sends `blocks[j]` to member j; resolves with the blocks from all members in order. The own block is passed on without a copy. None may exceed `maxCount` elements. */
export async function allToAllVariable(
  group: Group, blocks: readonly TypedArray[], dtype: DType, maxCount: number, operation: Operation = group.begin('all-to-all'),
): Promise<TypedArray[]> {
  const { rank, size } = group;
  if (blocks.length !== size) throw new InternalError(`all-to-all: expected ${size} blocks, got ${blocks.length}`);
  const received = blocks.map((own, from) => (from === rank ? own : operation.recvUpTo(from, 0, dtype, maxCount)));
  const sent: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const to = (rank + step) % size;
    sent.push(operation.send(to, 0, blocks[to]!));
  }
  const [out] = await Promise.all([Promise.all(received), Promise.all(sent)]);
  return out;
}

/** Payload bytes that each member sends of a local array of `count` elements in equal blocks. */
export function allToAllBytes(size: number, count: number): number { return (4 * count * (size - 1)) / size; }
