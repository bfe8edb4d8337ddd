// Ring-send in both directions at once, as one operation: `up` goes to the next member and comes from the previous,
// `down` the other way round. One step, both links of a member busy both ways; sends the bytes of both arrays. At P = 2
// both neighbours are one member: the chunk number tells them apart.

import type { TypedArray } from '../../base/shape.ts';
import { dtypeOf } from '../../transport/inbox.ts';
import type { CallOptions, Group } from '../group.ts';
import { recvAs, sendAs, wireBytes } from '../wire-format/wire-format.ts';

/** What travels one way, and where that of the neighbour goes: same length on every member, not overlapping. */
export interface RingPair {
  readonly data: TypedArray;
  readonly out: TypedArray;
}

/** A group of one copies and sends nothing. Throws PeerError with the culprit when a member fails. */
export async function ringSendBoth(
  group: Group,
  up: RingPair,
  down: RingPair,
  { operation = group.begin('ring-send'), wire = 'f32' }: CallOptions = {},
): Promise<void> {
  const { rank, size } = group;
  operation.sign({ dtype: dtypeOf(up.data), count: up.data.length + down.data.length, wire, route: 'ring' });
  if (size === 1) {
    up.out.set(up.data);
    down.out.set(down.data);
    return;
  }
  const [next, previous] = [(rank + 1) % size, (rank - 1 + size) % size];
  await Promise.all([
    recvAs(operation, previous, 0, up.out, wire),
    recvAs(operation, next, 1, down.out, wire),
    sendAs(operation, next, 0, up.data, wire),
    sendAs(operation, previous, 1, down.data, wire),
  ]);
}

/** Payload bytes that each member sends. */
export function ringSendBothBytes(
  size: number,
  upCount: number,
  downCount: number,
  { wire = 'f32' }: Pick<CallOptions, 'wire'> = {},
): number {
  return size === 1 ? 0 : wireBytes(wire, upCount) + wireBytes(wire, downCount);
}
