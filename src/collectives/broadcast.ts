// Broadcast: x of `root` overwrites x of every member (same length everywhere).
// Chain: root -> root + 1 -> ... in pieces of 256 KiB that are passed on as they come; P - 1 hops for the first piece, every member but the last sends S bytes.
// Direct: the root sends to each; 1 hop, the root sends (P - 1) S. All members must name the same route.

import { InternalError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import type { Group, Operation } from './group.ts';

const PIECE = 65536;

export async function broadcast(group: Group, x: TypedArray, root: number, route: 'chain' | 'direct' = 'chain', operation: Operation = group.begin('broadcast')): Promise<void> {
  const { rank, size } = group;
  if (root < 0 || root >= size) throw new InternalError(`broadcast: root ${root} of a group of ${size}`);
  if (size === 1) return;
  if (route === 'direct') {
    if (rank !== root) return operation.recv(root, 0, x);
    await Promise.all(Array.from({ length: size - 1 }, (_, i) => operation.send((root + 1 + i) % size, 0, x)));
    return;
  }
  const place = (rank - root + size) % size;
  const pieces = Array.from({ length: Math.max(1, Math.ceil(x.length / PIECE)) }, (_, i) => x.subarray(i * PIECE, (i + 1) * PIECE));
  const received = place === 0 ? [] : pieces.map((piece, i) => operation.recv((rank + size - 1) % size, i, piece));
  const sent: Promise<void>[] = [];
  for (let i = 0; i < pieces.length; i++) {
    await received[i];
    if (place < size - 1) sent.push(operation.send((rank + 1) % size, i, pieces[i]!));
  }
  await Promise.all(sent);
}

/** Payload bytes that `rank` sends. */
export function broadcastBytes(rank: number, size: number, root: number, count: number, route: 'chain' | 'direct' = 'chain'): number {
  const place = (rank - root + size) % size;
  if (route === 'direct') return place === 0 ? 4 * count * (size - 1) : 0;
  return place < size - 1 ? 4 * count : 0;
}
