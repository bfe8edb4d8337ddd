// Scatter: part i of the root's x becomes out of member i. Parts may be uneven or empty. One step; the root sends S
// minus its own part, the others nothing. A packed format rounds every part that travels once; the root's own part
// stays as it is.

import { LayoutError, ShapeError } from '../../base/errors.ts';
import type { TypedArray } from '../../base/shape.ts';
import { dtypeOf } from '../../transport/inbox.ts';
import type { CallOptions, Group } from '../group.ts';
import { checkParts, partSize } from '../parts.ts';
import { recvAs, sendAs, wireBytes } from '../wire-format/wire-format.ts';

/**
 * `x` is needed on the root only and is only read; `out` may be its own part there (in place). Throws LayoutError for a
 * root outside the group, ShapeError for lengths that do not fit, PeerError with the culprit when a member fails.
 */
export async function scatter(
  group: Group,
  x: TypedArray | undefined,
  partOffsets: readonly number[],
  out: TypedArray,
  root: number,
  options: CallOptions = {},
): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('scatter'), wire = 'f32' } = options;
  if (!(root >= 0 && root < size)) throw new LayoutError(`scatter: root ${root} of a group of ${size}`);
  const count = partOffsets.at(-1)!;
  checkParts('scatter', partOffsets, size, rank === root ? (x?.length ?? -1) : count);
  if (out.length !== partSize(partOffsets, rank))
    throw new ShapeError(
      `scatter: expected an output of ${partSize(partOffsets, rank)} elements on member ${rank}, got ${out.length}`,
    );
  operation.sign({ dtype: dtypeOf(out), count, root, wire });
  if (rank !== root) return recvAs(operation, root, 0, out, wire);
  const sent: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const to = (root + step) % size;
    sent.push(sendAs(operation, to, 0, x!.subarray(partOffsets[to], partOffsets[to + 1]), wire));
  }
  const own = x!.subarray(partOffsets[rank], partOffsets[rank + 1]);
  if (own.buffer !== out.buffer || own.byteOffset !== out.byteOffset) out.set(own);
  await Promise.all(sent);
}

/** Payload bytes that `rank` sends. */
export function scatterBytes(
  rank: number,
  root: number,
  partOffsets: readonly number[],
  { wire = 'f32' }: Pick<CallOptions, 'wire'> = {},
): number {
  let bytes = 0;
  for (let part = 0; part + 1 < partOffsets.length; part++)
    if (rank === root && part !== root) bytes += wireBytes(wire, partSize(partOffsets, part));
  return bytes;
}
