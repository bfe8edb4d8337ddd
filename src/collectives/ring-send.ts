// Ring-send: `data` goes to member (rank + offset) mod P, `out` comes from member (rank - offset) mod P. One step, S bytes, both ways at once.
// Safe at P = 2, where both neighbours are one tab: two ring-sends in opposite directions are two operations with their own numbers.
// `data` and `out` have the same length on every member and must not overlap. An offset of 0 mod P copies and sends nothing.

import { InternalError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import type { Group, Operation } from './group.ts';

export async function ringSend(group: Group, data: TypedArray, out: TypedArray, offset = 1, operation: Operation = group.begin('ring-send')): Promise<void> {
  const { rank, size } = group;
  if (!Number.isInteger(offset)) throw new InternalError(`ring-send: offset ${offset}`);
  const shift = ((offset % size) + size) % size;
  if (shift === 0) { out.set(data); return; }
  const received = operation.recv((rank - shift + size) % size, 0, out);
  await Promise.all([received, operation.send((rank + shift) % size, 0, data)]);
}

/** Payload bytes that each member sends. */
export function ringSendBytes(size: number, count: number, offset = 1): number { return offset % size === 0 ? 0 : 4 * count; }
