// Gather: the root receives the parts of all members, whose sizes only their senders know (at most `maxCount` elements). One step; every member but the root
// sends its part. The root resolves with the parts in group order, its own among them without a copy; the others with an empty list.

import { InternalError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { dtypeOf } from '../transport/inbox.ts';
import type { Group, Operation } from './group.ts';

export async function gather(group: Group, part: TypedArray, root: number, maxCount: number, operation: Operation = group.begin('gather')): Promise<TypedArray[]> {
  const { rank, size } = group;
  if (root < 0 || root >= size) throw new InternalError(`gather: root ${root} of a group of ${size}`);
  if (rank !== root) {
    await operation.send(root, 0, part);
    return [];
  }
  const dtype = dtypeOf(part);
  return Promise.all(Array.from({ length: size }, (_, from) => (from === root ? part : operation.recvUpTo(from, 0, dtype, maxCount))));
}
