// Reduce: x of `root` becomes the sum over all members; elsewhere x is scratch afterwards. A chain root + 1 -> root + 2
// -> ... -> root in pieces of 256 KiB that are passed on as they come, each member adding its own: P - 1 hops for the
// first piece, every member but the root sends the bytes of x, nobody receives more. The sum has this order on every
// run: ((x[root + 1] + x[root + 2]) + ...) + x[root].

import { LayoutError } from '../../base/errors.ts';
import type { CallOptions, Group } from '../group.ts';

type F32 = Float32Array<ArrayBuffer>;

const PIECE = 65536;

/**
 * Resolves when x is whole on the root, elsewhere when it has been handed on. Throws LayoutError for a root outside the
 * group, PeerError with the culprit when a member fails.
 */
export async function reduce(
  group: Group,
  x: F32,
  root: number,
  { operation = group.begin('reduce') }: Pick<CallOptions, 'operation'> = {},
): Promise<void> {
  const { rank, size } = group;
  if (!(root >= 0 && root < size)) throw new LayoutError(`reduce: root ${root} of a group of ${size}`);
  operation.sign({ dtype: 'f32', count: x.length, root });
  if (size === 1) return;
  const place = (rank - root - 1 + size) % size;
  const [before, after] = [(rank + size - 1) % size, (rank + 1) % size];
  const pieces = Array.from({ length: Math.max(1, Math.ceil(x.length / PIECE)) }, (_, i) =>
    x.subarray(i * PIECE, (i + 1) * PIECE),
  );
  const received = pieces.map((piece, i) => {
    const data = new Float32Array(place === 0 ? 0 : piece.length);
    return { data, arrived: place === 0 ? undefined : operation.recv(before, i, data) };
  });
  const sent: Promise<void>[] = [];
  for (const [i, piece] of pieces.entries()) {
    const { data, arrived } = received[i]!;
    await arrived;
    for (let k = 0; k < data.length; k++) piece[k]! += data[k]!;
    if (place < size - 1) sent.push(operation.send(after, i, piece));
  }
  await Promise.all(sent);
}

/** Payload bytes that `rank` sends. */
export function reduceBytes(rank: number, size: number, root: number, count: number): number {
  return size === 1 || rank === root ? 0 : 4 * count;
}
