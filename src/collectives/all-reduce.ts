// All-reduce: x = sum over members of x (or max), in place, bit-identical on all members: reduce-scatter to even parts, then all-gather of the owners' bytes.
// 2 steps up to 256 KiB, else 1 + (P - 1). Bytes sent: 2 (P - 1) / P * S when P divides the count; else reduceScatterBytes + allGatherBytes of evenParts,
// also for counts below P, where some parts are empty.

import { allGather, allGatherBytes } from './all-gather.ts';
import type { Group, Operation } from './group.ts';
import { evenParts } from './parts.ts';
import { pieceCount, reduceScatter, reduceScatterBytes } from './reduce-scatter.ts';
import type { Reduction } from './reduce-scatter.ts';

export async function allReduce(group: Group, x: Float32Array<ArrayBuffer>, reduction: Reduction = 'sum', operation: Operation = group.begin('all-reduce')): Promise<void> {
  const { rank, size } = group;
  if (size === 1) return;
  const offsets = evenParts(x.length, size);
  const own = x.subarray(offsets[rank]!, offsets[rank + 1]!);
  await reduceScatter(group, x, offsets, own, reduction, operation);
  await allGather(group, own, offsets, x, operation, pieceCount(offsets));
}

/** Payload bytes that `rank` sends. */
export function allReduceBytes(rank: number, size: number, count: number): number {
  const offsets = evenParts(count, size);
  return reduceScatterBytes(rank, offsets) + allGatherBytes(rank, offsets);
}
