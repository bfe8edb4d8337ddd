// Send and receive between two members: one step, S bytes. The n-th send to a member meets its n-th receive from us;
// the two count for themselves, so other members need not know. A packed format rounds once on the way.

import type { TypedArray } from '../../base/shape.ts';
import { dtypeOf } from '../../transport/inbox.ts';
import type { CallOptions, Group } from '../group.ts';
import { recvAs, sendAs, wireBytes } from '../wire-format/wire-format.ts';

/**
 * Resolves when `x` may be reused: up to 256 KiB at once, longer ones when the receiver has asked for them. Throws
 * PeerError with the culprit.
 */
export async function send(
  group: Group,
  to: number,
  x: TypedArray,
  { operation = group.beginPoint('send', to, 'to'), wire = 'f32' }: CallOptions = {},
): Promise<void> {
  operation.sign({ dtype: dtypeOf(x), count: x.length, wire });
  await sendAs(operation, to, 0, x, wire);
}

/** Resolves when `out` is filled; its type and length must be the sender's. Throws PeerError with the culprit. */
export async function recv(
  group: Group,
  from: number,
  out: TypedArray,
  { operation = group.beginPoint('send', from, 'from'), wire = 'f32' }: CallOptions = {},
): Promise<void> {
  operation.sign({ dtype: dtypeOf(out), count: out.length, wire });
  await recvAs(operation, from, 0, out, wire);
}

/** Payload bytes of the sender. */
export function sendBytes(count: number, { wire = 'f32' }: Pick<CallOptions, 'wire'> = {}): number {
  return wireBytes(wire, count);
}
