// All-to-all: block j of member i becomes block i of member j. One step, to every other member directly.
// Equal blocks: (P - 1) / P * S_local bytes. Variable blocks: the sizes are known to the senders only; each sends
// everything but its own block. A packed format rounds every block that travels once; the own block stays as it is.
// Variable blocks then have their count (4 bytes) ahead of them.

import { ShapeError } from '../base/errors.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import { dtypeOf } from '../transport/inbox.ts';
import type { CallOptions, Group } from './group.ts';
import { recvAs, recvSized, sendAs, sendSized, sizedBytes, wireBytes } from './wire-format/wire-format.ts';

/**
 * `x` and `out` hold P blocks of equal length, and must not overlap. Throws ShapeError for other lengths, PeerError
 * with the culprit when a member fails.
 */
export async function allToAll(group: Group, x: TypedArray, out: TypedArray, options: CallOptions = {}): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('all-to-all'), wire = 'f32' } = options;
  if (x.length % size || out.length !== x.length)
    throw new ShapeError(
      `all-to-all: expected ${size} equal blocks in and out, got ${x.length} and ${out.length} elements`,
    );
  operation.sign({ dtype: dtypeOf(x), count: x.length, wire });
  const block = x.length / size;
  out.set(x.subarray(rank * block, (rank + 1) * block), rank * block);
  const pending: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const from = (rank - step + size) % size;
    pending.push(recvAs(operation, from, 0, out.subarray(from * block, (from + 1) * block), wire));
  }
  for (let step = 1; step < size; step++) {
    const to = (rank + step) % size;
    pending.push(sendAs(operation, to, 0, x.subarray(to * block, (to + 1) * block), wire));
  }
  await Promise.all(pending);
}

/**
 * Sends `blocks[j]` to member j; resolves with the blocks from all members in order. The own block is passed on without
 * a copy. None may exceed `maxCount` elements: that much memory a peer can make us take, and no more.
 */
export async function allToAllVariable(
  group: Group,
  blocks: readonly TypedArray[],
  dtype: DType,
  maxCount: number,
  options: CallOptions = {},
): Promise<TypedArray[]> {
  const { rank, size } = group;
  const { operation = group.begin('all-to-all'), wire = 'f32' } = options;
  if (blocks.length !== size) throw new ShapeError(`all-to-all: expected ${size} blocks, got ${blocks.length}`);
  operation.sign({ dtype, wire }); // every member has its own count
  const received = blocks.map((own, from) =>
    from === rank ? own : recvSized(operation, from, 0, dtype, maxCount, wire),
  );
  const sent: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const to = (rank + step) % size;
    sent.push(sendSized(operation, to, 0, blocks[to], wire));
  }
  const [out] = await Promise.all([Promise.all(received), Promise.all(sent)]);
  return out;
}

/** Payload bytes that each member sends of a local array of `count` elements in equal blocks. */
export function allToAllBytes(size: number, count: number, { wire = 'f32' }: Pick<CallOptions, 'wire'> = {}): number {
  return (size - 1) * wireBytes(wire, count / size);
}

/** Payload bytes that a member sends in blocks of `counts[j]` elements to each other member j. */
export function allToAllVariableBytes(
  rank: number,
  counts: readonly number[],
  { wire = 'f32' }: Pick<CallOptions, 'wire'> = {},
): number {
  return counts.reduce((sum, count, to) => (to === rank ? sum : sum + sizedBytes(wire, count)), 0);
}
