// All-reduce in one step: each member sends its whole x to every other, and each combines all of them in the order of
// members. Sends (P - 1) S: what two steps send when P = 2, more otherwise. Packed formats: everybody combines what
// everybody decodes, the own contribution too, so the members agree in every bit.

import type { Reduction, WireFormat } from '../../transport/arguments.ts';
import type { Group, Operation } from '../group.ts';
import { decode, encode } from '../wire-format/wire-format.ts';
import { combineInOrder, PIECE } from './in-order.ts';

type F32 = Float32Array<ArrayBuffer>;

/** `out` may be `x`; otherwise `x` is only read. */
export async function exchange(
  group: Group,
  x: F32,
  out: F32,
  reduction: Reduction,
  operation: Operation,
  wire: WireFormat,
): Promise<void> {
  const { rank, size } = group;
  const sent: Promise<unknown>[] = [];
  for (let start = 0; start < Math.max(1, x.length); start += PIECE) {
    const piece = x.subarray(start, start + PIECE);
    const words = wire === 'f32' ? piece : encode(wire, piece);
    if (words !== piece) decode(wire, words as Uint32Array<ArrayBuffer>, out.subarray(start, start + PIECE));
    // Starting behind ourselves, so that nobody is everybody's first.
    const sends = Array.from({ length: size - 1 }, (_, step) =>
      operation.send((rank + step + 1) % size, start / PIECE, words),
    );
    sent.push(Promise.all(sends));
    // One that fails while another is awaited must not count as unhandled.
    sent.at(-1)!.catch(() => undefined);
  }
  await Promise.all([
    ...sent,
    combineInOrder(group, wire === 'f32' ? x : out, out, reduction, operation, wire, (piece) => sent[piece]!),
  ]);
}
