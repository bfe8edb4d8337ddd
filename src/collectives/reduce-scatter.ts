// Reduce-scatter: out of member i = sum over j of x_j[part i] (or max, min, mean). Parts may be uneven or empty; a part
// that is everything makes it a reduce to one root. owner: each owner hears every peer separately and combines in f32
// in the order of members 0 ... P - 1, so the result depends on neither topology nor timing. 1 step. ring: the partial
// sum of part p goes p + 1 -> p + 2 ... -> p and is combined in that order, in f32; P - 1 steps, two links per member,
// whatever P. Bytes sent, both: S minus the own part; equal parts (P - 1) / P * S. Owners take long parts in pieces of
// 1 MiB, two under way: at most 2 (P - 1) MiB held. `reductionRoute` chooses. Sums of packed formats round each
// contribution once (owner), or each partial sum (ring); the own contribution is never rounded.

import { ShapeError } from '../base/errors.ts';
import type { Reduction, WireFormat } from '../transport/arguments.ts';
import { combinerOf, finish } from './reduction/combine.ts';
import { combineInOrder, PIECE } from './reduction/in-order.ts';
import type { CallOptions, Group, Operation } from './group.ts';
import { checkParts, partSize } from './parts.ts';
import { ringReduceScatter } from './reduction/ring-reduce.ts';
import { sendAs, wireBytes } from './wire-format/wire-format.ts';

type F32 = Float32Array<ArrayBuffer>;

export type ReductionRoute = 'owner' | 'ring';

export interface ReduceOptions extends CallOptions {
  /** 'sum' unless told. mean is the sum divided by P in f32; a NaN in any contribution wins. */
  readonly reduction?: Reduction;
  readonly route?: ReductionRoute;
}

/**
 * owner, but the ring from 12 members and 16 MiB on: there an owner would keep P - 1 streams and 2 (P - 1) MiB at once,
 * and one step more or less is nothing. `bytes` are those of x in f32.
 */
export function reductionRoute(bytes: number, size: number): ReductionRoute {
  return size >= 12 && bytes >= 16 * 1024 * 1024 ? 'ring' : 'owner';
}

/**
 * `x` is only read, except where `out` is the own part of `x`, which is allowed (in place). Resolves when `out` is
 * whole and `x` may be changed. Throws ShapeError for parts that do not fit, PeerError with the culprit when a member
 * fails.
 */
export async function reduceScatter(
  group: Group,
  x: F32,
  partOffsets: readonly number[],
  out: F32,
  options: ReduceOptions = {},
): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('reduce-scatter'), reduction = 'sum', wire = 'f32' } = options;
  const route = options.route ?? reductionRoute(4 * x.length, size);
  checkParts('reduce-scatter', partOffsets, size, x.length);
  if (out.length !== partSize(partOffsets, rank))
    throw new ShapeError(
      `reduce-scatter: expected an output of ${partSize(partOffsets, rank)} elements on member ${rank}, got ${out.length}`,
    );
  operation.sign({ dtype: 'f32', count: x.length, reduction, wire, route: route === 'owner' ? 'direct' : 'ring' });
  const own = x.subarray(partOffsets[rank], partOffsets[rank + 1]);
  if (size === 1) {
    out.set(own);
    return;
  }
  if (route === 'ring') await ringReduceScatter(group, x, partOffsets, out, combinerOf(reduction), operation, wire);
  else
    await Promise.all([
      scatter(group, x, partOffsets, operation, wire),
      combineInOrder(group, own, out, reduction, operation, wire),
    ]);
  finish(reduction, out, size);
}

/**
 * Sends each owner our contribution, the first pieces of all owners first, starting behind ourselves so that no owner
 * is everybody's first.
 */
async function scatter(
  { rank, size }: Group,
  x: F32,
  partOffsets: readonly number[],
  operation: Operation,
  wire: WireFormat,
): Promise<void> {
  const sent: Promise<void>[] = [];
  for (let piece = 0; piece < pieceCount(partOffsets); piece++) {
    for (let step = 1; step < size; step++) {
      const owner = (rank + step) % size;
      const end = partOffsets[owner + 1];
      const start = partOffsets[owner] + piece * PIECE;
      if (start < end || piece === 0)
        sent.push(sendAs(operation, owner, piece, x.subarray(start, Math.min(end, start + PIECE)), wire));
    }
  }
  await Promise.all(sent);
}

/** Messages to the owner of the longest part; the others get fewer. */
export function pieceCount(partOffsets: readonly number[]): number {
  let longest = 0;
  for (let i = 1; i < partOffsets.length; i++) longest = Math.max(longest, partOffsets[i] - partOffsets[i - 1]);
  return Math.max(1, Math.ceil(longest / PIECE));
}

/** Payload bytes that `rank` sends, on either route. */
export function reduceScatterBytes(
  rank: number,
  partOffsets: readonly number[],
  { wire = 'f32' }: Pick<ReduceOptions, 'wire'> = {},
): number {
  let bytes = 0;
  for (let part = 0; part + 1 < partOffsets.length; part++)
    if (part !== rank) bytes += wireBytes(wire, partSize(partOffsets, part));
  return bytes;
}
