// Gather: the root receives the parts of all members, whose sizes only their senders know (at most `maxCount`
// elements). One step; every member but the root sends its part. The root resolves with the parts in group order, its
// own among them without a copy or rounding; the others with an empty list. A packed format sends the count (4 bytes)
// ahead of each part.

import { LayoutError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { dtypeOf } from '../transport/inbox.ts';
import type { CallOptions, Group } from './group.ts';
import { recvSized, sendSized, sizedBytes } from './wire-format/wire-format.ts';

/** Throws LayoutError for a root outside the group, PeerError with the culprit when a member fails. */
export async function gather(
  group: Group,
  part: TypedArray,
  root: number,
  maxCount: number,
  options: CallOptions = {},
): Promise<TypedArray[]> {
  const { rank, size } = group;
  const { operation = group.begin('gather'), wire = 'f32' } = options;
  if (!(root >= 0 && root < size)) throw new LayoutError(`gather: root ${root} of a group of ${size}`);
  const dtype = dtypeOf(part);
  operation.sign({ dtype, root, wire }); // every member has its own count
  if (rank !== root) {
    await sendSized(operation, root, 0, part, wire);
    return [];
  }
  return Promise.all(
    Array.from({ length: size }, (_, from) =>
      from === root ? part : recvSized(operation, from, 0, dtype, maxCount, wire),
    ),
  );
}

/** Payload bytes that `rank` sends of its own part of `count` elements. */
export function gatherBytes(
  rank: number,
  root: number,
  count: number,
  { wire = 'f32' }: Pick<CallOptions, 'wire'> = {},
): number {
  return rank === root ? 0 : sizedBytes(wire, count);
}
