// All-reduce: x = sum over members of x (or max, min, mean), bit-identical on all members. `allReduceRoute` chooses
// between owner, ring: reduce-scatter to even parts, then all-gather of the owners' bytes. Steps: 1 or P - 1 for each
// half (reductionRoute, allGatherRoute). Bytes sent:
// 2 (P - 1) / P * S when P divides the count; else reduceScatterBytes + allGatherBytes of evenParts, also for counts
// below P, where some parts are empty. exchange: everybody to everybody. 1 step, (P - 1) S: as many bytes as the others
// for two members. Same sums in f32 as owner. With a packed format the owner also rounds its total before it uses it,
// so the members still agree in every bit. Error for sums: owner, the sum over the other members of their rounding plus
// one rounding of the total; exchange, the sum over all members of their rounding.

import { ShapeError } from '../base/errors.ts';
import { allGather, allGatherBytes } from './all-gather.ts';
import type { Group } from './group.ts';
import { evenParts } from './parts.ts';
import { finish } from './reduction/combine.ts';
import { exchange } from './reduction/exchange.ts';
import { ringPieceCount } from './reduction/ring-reduce.ts';
import { pieceCount, reduceScatter, reduceScatterBytes, reductionRoute } from './reduce-scatter.ts';
import type { ReduceOptions, ReductionRoute } from './reduce-scatter.ts';
import { wireBytes } from './wire-format/wire-format.ts';

type F32 = Float32Array<ArrayBuffer>;

export type AllReduceRoute = ReductionRoute | 'exchange';
/** Sending so much more is cheaper than a second step: a round trip's time on a data channel of 25 MB/s. */
const EXCHANGE_BYTES = 16 * 1024;

/**
 * exchange between two members, and while a member sends at most 16 KiB in all; else as reductionRoute says. `bytes`
 * are those of x in f32.
 */
export function allReduceRoute(bytes: number, size: number): AllReduceRoute {
  return size === 2 || (size - 1) * bytes <= EXCHANGE_BYTES ? 'exchange' : reductionRoute(bytes, size);
}

export interface AllReduceOptions extends Omit<ReduceOptions, 'route'> {
  readonly route?: AllReduceRoute;
  /** Where the result goes; `x` itself unless told. Must not overlap `x` in part. */
  readonly out?: F32;
}

/**
 * Resolves when the result is whole. In place `x` holds it; with `out`, `x` is only read. The operation's number is
 * taken now: issue early, await late. Throws ShapeError for lengths that do not fit, PeerError with the culprit when a
 * member fails; the result is then undefined.
 */
export async function allReduce(group: Group, x: F32, options: AllReduceOptions = {}): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('all-reduce'), reduction = 'sum', wire = 'f32', out = x } = options;
  const route = options.route ?? allReduceRoute(4 * x.length, size);
  if (out.length !== x.length)
    throw new ShapeError(`all-reduce: expected an output of ${x.length} elements, got ${out.length}`);
  if (size === 1) {
    if (out !== x) out.set(x);
    return;
  }
  if (route === 'exchange') {
    operation.sign({ dtype: 'f32', count: x.length, reduction, wire, route });
    await exchange(group, x, out, reduction, operation, wire);
    finish(reduction, out, size);
    return;
  }
  const offsets = evenParts(x.length, size);
  const own = out.subarray(offsets[rank], offsets[rank + 1]);
  await reduceScatter(group, x, offsets, own, { operation, reduction, wire, route });
  await allGather(group, own, offsets, out, {
    operation,
    wire,
    firstChunk: route === 'owner' ? pieceCount(offsets) : ringPieceCount(offsets),
  });
}

/** Payload bytes that `rank` sends. */
export function allReduceBytes(
  rank: number,
  size: number,
  count: number,
  { wire = 'f32', route = allReduceRoute(4 * count, size) }: Pick<AllReduceOptions, 'wire' | 'route'> = {},
): number {
  if (route === 'exchange') return (size - 1) * wireBytes(wire, count);
  const offsets = evenParts(count, size);
  return reduceScatterBytes(rank, offsets, { wire }) + allGatherBytes(rank, offsets, { wire });
}
