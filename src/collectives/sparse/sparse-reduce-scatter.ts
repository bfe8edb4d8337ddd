// Sparse reduce-scatter spRS(P', P): the owner of a chunk combines the arrays of all its holders, in the order of
// members, in f32. One step; every holder but the owner sends the chunk once, so the group sends exactly chunk bytes *
// |P' \ P|: the dual of sparse all-gather. Source: parallelism.md section 8. The order is that of the holders whatever
// the timing, so the result is the same bits on every run. A packed format rounds each contribution but the owner's
// once.

import type { Reduction } from '../../transport/arguments.ts';
import type { CallOptions, Group } from '../group.ts';
import { combinerOf, finish } from '../reduction/combine.ts';
import { recvAs, sendAs, wireBytes } from '../wire-format/wire-format.ts';
import { checkChunkPlacement } from './chunk-placement.ts';
import type { ChunkPlacement } from './chunk-placement.ts';
import { needed } from './sparse-all-gather.ts';

type F32 = Float32Array<ArrayBuffer>;

/**
 * `chunks[c]` is needed on the holders of chunk c: on its owner it becomes the result, on the others it is only read.
 * mean divides by the number of holders. Holds one further array per replica of the own chunks while it runs. Throws as
 * sparseAllGather.
 */
export async function sparseReduceScatter(
  group: Group,
  placement: ChunkPlacement,
  chunks: readonly (F32 | undefined)[],
  options: CallOptions & { readonly reduction?: Reduction } = {},
): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('sparse-reduce-scatter'), reduction = 'sum', wire = 'f32' } = options;
  checkChunkPlacement('sparse-reduce-scatter', placement, size);
  operation.sign({ dtype: 'f32', count: placement.owners.length, reduction, wire, route: 'direct' });
  const pending: Promise<void>[] = [];
  for (const [chunk, holders] of placement.holders.entries()) {
    if (!holders.includes(rank)) continue;
    const own = needed('sparse-reduce-scatter', chunks, chunk, rank);
    const owner = placement.owners[chunk];
    if (owner !== rank) {
      pending.push(sendAs(operation, owner, chunk, own, wire));
      continue;
    }
    const parts = holders.map((from) => (from === rank ? own : new Float32Array(own.length)));
    const received = holders.map((from, i) =>
      from === rank ? undefined : recvAs(operation, from, chunk, parts[i], wire),
    );
    pending.push(
      Promise.all(received).then(() => {
        // The own array takes its turn in the order of members; the sum grows apart until then.
        const sum = parts[0] === own ? own : parts[0];
        for (const part of parts.slice(1)) combinerOf(reduction)(sum, part);
        if (sum !== own) own.set(sum);
        finish(reduction, own, holders.length);
      }),
    );
  }
  await Promise.all(pending);
}

/** Payload bytes that `rank` sends. */
export function sparseReduceScatterBytes(
  rank: number,
  { owners, holders }: ChunkPlacement,
  counts: readonly number[],
  { wire = 'f32' }: Pick<CallOptions, 'wire'> = {},
): number {
  return holders.reduce(
    (bytes, members, chunk) =>
      members.includes(rank) && owners[chunk] !== rank ? bytes + wireBytes(wire, counts[chunk]) : bytes,
    0,
  );
}
