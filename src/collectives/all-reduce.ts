// All-reduce: x = sum over members of x (or max, min, mean), bit-identical on all members: reduce-scatter to even parts, then all-gather of the owners' bytes.
// Steps: 1 or P - 1 for each half (reductionRoute, allGatherRoute). Bytes sent: 2 (P - 1) / P * S when P divides the count; else reduceScatterBytes +
// allGatherBytes of evenParts, also for counts below P, where some parts are empty.
// With a packed format the owner also rounds its total before it uses it, so the members still agree in every bit. Error on the owner route, for sums: the sum over
// the other members of their rounding, plus one rounding of the total.

import { ShapeError } from '../base/errors.ts';
import { allGather, allGatherBytes } from './all-gather.ts';
import type { Group } from './group.ts';
import { evenParts } from './parts.ts';
import { ringPieceCount } from './reduction/ring-reduce.ts';
import { pieceCount, reduceScatter, reduceScatterBytes, reductionRoute } from './reduce-scatter.ts';
import type { ReduceOptions } from './reduce-scatter.ts';

type F32 = Float32Array<ArrayBuffer>;

export interface AllReduceOptions extends ReduceOptions {
  /** Where the result goes; `x` itself unless told. Must not overlap `x` in part. */
  readonly out?: F32;
}

/**
 * Resolves when the result is whole. In place `x` holds it; with `out`, `x` is only read. The operation's number is taken now: issue early, await late.
 * Throws ShapeError for lengths that do not fit, PeerError with the culprit when a member fails; the result is then undefined.
 */
export async function allReduce(group: Group, x: F32, options: AllReduceOptions = {}): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('all-reduce'), reduction = 'sum', wire = 'f32', out = x } = options;
  const route = options.route ?? reductionRoute(4 * x.length, size);
  if (out.length !== x.length) throw new ShapeError(`all-reduce: expected an output of ${x.length} elements, got ${out.length}`);
  if (size === 1) { if (out !== x) out.set(x); return; }
  const offsets = evenParts(x.length, size);
  const own = out.subarray(offsets[rank], offsets[rank + 1]);
  await reduceScatter(group, x, offsets, own, { operation, reduction, wire, route });
  await allGather(group, own, offsets, out, { operation, wire, firstChunk: route === 'owner' ? pieceCount(offsets) : ringPieceCount(offsets) });
}

/** Payload bytes that `rank` sends. */
export function allReduceBytes(rank: number, size: number, count: number, { wire = 'f32' }: Pick<AllReduceOptions, 'wire'> = {}): number {
  const offsets = evenParts(count, size);
  return reduceScatterBytes(rank, offsets, { wire }) + allGatherBytes(rank, offsets, { wire });
}
