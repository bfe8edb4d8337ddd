// Sparse all-gather spAG(P, P'): every chunk goes from its owner to its other holders. One step; the owner of a chunk
// sends its bytes (holders - 1) times, so the group sends exactly chunk bytes * |P' \ P|. Everyone a holder: an
// all-gather; owners alone: nothing. Source: parallelism.md section 8. A packed format is encoded once, and the owner
// takes the rounded values too where it has other holders: replicas are byte-identical.

import { ShapeError } from '../../base/errors.ts';
import type { CallOptions, Group } from '../group.ts';
import { decode, encode, wireBytes } from '../wire-format/wire-format.ts';
import { checkChunkPlacement } from './chunk-placement.ts';
import type { ChunkPlacement } from './chunk-placement.ts';

type F32 = Float32Array<ArrayBuffer>;

/**
 * `chunks[c]` is needed on the holders of chunk c: read on its owner, filled on the others; not overlapping. All
 * members must pass the same placement. Throws LayoutError or ShapeError for what does not fit, PeerError with the
 * culprit when a member fails.
 */
export async function sparseAllGather(
  group: Group,
  placement: ChunkPlacement,
  chunks: readonly (F32 | undefined)[],
  options: CallOptions = {},
): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('sparse-all-gather'), wire = 'f32' } = options;
  checkChunkPlacement('sparse-all-gather', placement, size);
  operation.sign({ dtype: 'f32', count: placement.owners.length, wire, route: 'direct' });
  const pending: Promise<void>[] = [];
  const packed = (chunk: number): F32 | Uint32Array<ArrayBuffer> =>
    wire === 'f32'
      ? needed('sparse-all-gather', chunks, chunk, rank)
      : encode(wire, needed('sparse-all-gather', chunks, chunk, rank));
  for (const [chunk, holders] of placement.holders.entries()) {
    const owner = placement.owners[chunk];
    if (owner === rank && holders.length > 1) {
      const data = packed(chunk);
      if (data instanceof Uint32Array) decode(wire, data, chunks[chunk]!);
      // Behind ourselves first, so that no member is every owner's first.
      for (const to of [...holders.filter((member) => member > rank), ...holders.filter((member) => member < rank)])
        pending.push(operation.send(to, chunk, data));
    } else if (owner !== rank && holders.includes(rank)) {
      const out = needed('sparse-all-gather', chunks, chunk, rank);
      if (wire === 'f32') pending.push(operation.recv(owner, chunk, out));
      else {
        const words = new Uint32Array(wireBytes(wire, out.length) / 4);
        pending.push(operation.recv(owner, chunk, words).then(() => decode(wire, words, out)));
      }
    }
  }
  await Promise.all(pending);
}

/** The array of a chunk that this member holds. */
export function needed(where: string, chunks: readonly (F32 | undefined)[], chunk: number, rank: number): F32 {
  const data = chunks[chunk];
  if (!data) throw new ShapeError(`${where}: member ${rank} holds chunk ${chunk}, but no array was given for it`);
  return data;
}

/** Payload bytes that `rank` sends; `counts[c]` are the elements of chunk c. */
export function sparseAllGatherBytes(
  rank: number,
  { owners, holders }: ChunkPlacement,
  counts: readonly number[],
  { wire = 'f32' }: Pick<CallOptions, 'wire'> = {},
): number {
  return owners.reduce(
    (bytes, owner, chunk) =>
      owner === rank ? bytes + (holders[chunk].length - 1) * wireBytes(wire, counts[chunk]) : bytes,
    0,
  );
}
