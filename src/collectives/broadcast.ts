// Broadcast: x of `root` overwrites x of every member (same length everywhere). S = bytes of x on the wire.
// Chain: root -> root + 1 -> ... in pieces of 256 KiB that are passed on as they come; P - 1 hops for the first piece,
// every member but the last sends S bytes. Direct: the root sends to each; 1 hop, the root sends (P - 1) S.
// A packed format is encoded once at the root, and the root takes the rounded values too: all members end with the same
// bytes.

import { LayoutError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { dtypeOf } from '../transport/inbox.ts';
import type { CallOptions, Group, Operation } from './group.ts';
import { decode, encode, wireBytes } from './wire-format/wire-format.ts';

const PIECE = 65536;

export interface BroadcastOptions extends CallOptions {
  readonly route?: 'chain' | 'direct';
}

/**
 * Resolves when x is whole and has been handed on. Throws LayoutError for a root outside the group, PeerError with the
 * culprit when a member fails.
 */
export async function broadcast(
  group: Group,
  x: TypedArray,
  root: number,
  options: BroadcastOptions = {},
): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('broadcast'), route = 'chain', wire = 'f32' } = options;
  if (!(root >= 0 && root < size)) throw new LayoutError(`broadcast: root ${root} of a group of ${size}`);
  operation.sign({ dtype: dtypeOf(x), count: x.length, root, route, wire });
  if (size === 1) return;
  if (wire === 'f32' || !(x instanceof Float32Array)) return pass(group, x, root, route, operation);
  const words = rank === root ? encode(wire, x) : new Uint32Array(wireBytes(wire, x.length) / 4);
  await pass(group, words, root, route, operation);
  decode(wire, words, x);
}

async function pass(
  { rank, size }: Group,
  x: TypedArray,
  root: number,
  route: 'chain' | 'direct',
  operation: Operation,
): Promise<void> {
  if (route === 'direct') {
    if (rank !== root) return operation.recv(root, 0, x);
    await Promise.all(Array.from({ length: size - 1 }, (_, i) => operation.send((root + 1 + i) % size, 0, x)));
    return;
  }
  const place = (rank - root + size) % size;
  const pieces = Array.from({ length: Math.max(1, Math.ceil(x.length / PIECE)) }, (_, i) =>
    x.subarray(i * PIECE, (i + 1) * PIECE),
  );
  const received = place === 0 ? [] : pieces.map((piece, i) => operation.recv((rank + size - 1) % size, i, piece));
  const sent: Promise<void>[] = [];
  for (let i = 0; i < pieces.length; i++) {
    await received[i];
    if (place < size - 1) sent.push(operation.send((rank + 1) % size, i, pieces[i]));
  }
  await Promise.all(sent);
}

/** Payload bytes that `rank` sends. */
export function broadcastBytes(
  rank: number,
  size: number,
  root: number,
  count: number,
  { route = 'chain', wire = 'f32' }: Pick<BroadcastOptions, 'route' | 'wire'> = {},
): number {
  const place = (rank - root + size) % size;
  const bytes = wireBytes(wire, count);
  if (route === 'direct') return place === 0 ? bytes * (size - 1) : 0;
  return place < size - 1 ? bytes : 0;
}
