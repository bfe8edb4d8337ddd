// Ring-send: `data` goes to member (rank + offset) mod P, `out` comes from member (rank - offset) mod P. One step, S
// bytes, both ways at once. Safe at P = 2, where both neighbours are one tab: two ring-sends in opposite directions are
// two operations with their own numbers. `data` and `out` have the same length on every member and must not overlap. An
// offset of 0 mod P copies and sends nothing.

import { LayoutError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { dtypeOf } from '../transport/inbox.ts';
import type { CallOptions, Group } from './group.ts';
import { recvAs, sendAs, wireBytes } from './wire-format/wire-format.ts';

/** Throws LayoutError for an offset that is no integer, PeerError with the culprit when a member fails. */
export async function ringSend(
  group: Group,
  data: TypedArray,
  out: TypedArray,
  offset = 1,
  { operation = group.begin('ring-send'), wire = 'f32' }: CallOptions = {},
): Promise<void> {
  const { rank, size } = group;
  if (!Number.isInteger(offset)) throw new LayoutError(`ring-send: offset ${offset}`);
  operation.sign({ dtype: dtypeOf(data), count: data.length, wire });
  const shift = ((offset % size) + size) % size;
  if (shift === 0) {
    out.set(data);
    return;
  }
  const received = recvAs(operation, (rank - shift + size) % size, 0, out, wire);
  await Promise.all([received, sendAs(operation, (rank + shift) % size, 0, data, wire)]);
}

/** Payload bytes that each member sends. */
export function ringSendBytes(
  size: number,
  count: number,
  offset = 1,
  { wire = 'f32' }: Pick<CallOptions, 'wire'> = {},
): number {
  return offset % size === 0 ? 0 : wireBytes(wire, count);
}
