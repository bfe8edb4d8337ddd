// Where chunks live (the experts of a layer, the shards of a table): every chunk has one owner, and holders that need
// it for now, the owner among them. Members are indices within the group. A plan of replicas is a ChunkPlacement; who
// makes it (a load predictor, say) is not our business here. Source: parallelism.md section 8 (Hecate: spAG(P, P') and
// spRS(P', P)).

import { LayoutError } from '../../base/errors.ts';

export interface ChunkPlacement {
  /** Owner of each chunk. */
  readonly owners: readonly number[];
  /** Holders of each chunk, ascending, each once, the owner among them. */
  readonly holders: readonly (readonly number[])[];
}

/** Throws LayoutError unless `placement` is one for a group of `size`. */
export function checkChunkPlacement(where: string, { owners, holders }: ChunkPlacement, size: number): void {
  if (owners.length !== holders.length)
    throw new LayoutError(`${where}: ${owners.length} owners for the holders of ${holders.length} chunks`);
  for (const [chunk, members] of holders.entries()) {
    const fits = members.every(
      (member, i) => Number.isInteger(member) && member >= 0 && member < size && (i === 0 || member > members[i - 1]),
    );
    if (!fits)
      throw new LayoutError(
        `${where}: the holders of chunk ${chunk} must be ascending members of a group of ${size}, got [${members.join(', ')}]`,
      );
    if (!members.includes(owners[chunk]))
      throw new LayoutError(
        `${where}: the owner ${owners[chunk]} of chunk ${chunk} is not among its holders [${members.join(', ')}]`,
      );
  }
}

/** Nobody but the owners: expert parallelism as it is without replicas. */
export function ownersOnly(owners: readonly number[]): ChunkPlacement {
  return { owners, holders: owners.map((owner) => [owner]) };
}

/** Everybody holds everything: all-gather and reduce-scatter as special cases. */
export function everywhere(owners: readonly number[], size: number): ChunkPlacement {
  return { owners, holders: owners.map(() => Array.from({ length: size }, (_, member) => member)) };
}
