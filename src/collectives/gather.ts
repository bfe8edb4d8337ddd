// Gather: the root receives the parts of all members, whose sizes only their senders know (at most `maxCount` elements). One step; every member but the root
// sends its part. The root resolves with the parts in group order, its own among them without a copy; the others with an empty list.

import { LayoutError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { dtypeOf } from '../transport/inbox.ts';
import type { CallOptions, Group } from './group.ts';

/** Always in full precision. Throws LayoutError for a root outside the group, PeerError with the culprit when a member fails. */
export async function gather(group: Group, part: TypedArray, root: number, maxCount: number, { operation = group.begin('gather') }: Pick<CallOptions, 'operation'> = {}): Promise<TypedArray[]> {
  const { rank, size } = group;
  if (!(root >= 0 && root < size)) throw new LayoutError(`gather: root ${root} of a group of ${size}`);
  const dtype = dtypeOf(part);
  operation.sign({ dtype, root }); // every member has its own count
  if (rank !== root) {
    await operation.send(root, 0, part);
    return [];
  }
  return Promise.all(Array.from({ length: size }, (_, from) => (from === root ? part : operation.recvUpTo(from, 0, dtype, maxCount))));
}

/** Payload bytes that `rank` sends of its own part. */
export function gatherBytes(rank: number, root: number, count: number): number { return rank === root ? 0 : 4 * count; }
