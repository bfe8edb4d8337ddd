// How one member combines what it hears of all others: in f32, in the order of members 0 ... P - 1, so that the result
// depends on neither topology nor timing. In pieces of 1 MiB, two under way: at most 2 (P - 1) MiB held.

import type { Reduction, WireFormat } from '../../transport/arguments.ts';
import type { Group, Operation } from '../group.ts';
import { recvAs } from '../wire-format/wire-format.ts';
import { combinerOf } from './combine.ts';

type F32 = Float32Array<ArrayBuffer>;

/** Floats. A multiple of the blocks of every wire format, so that pieces pad like the whole. */
export const PIECE = 262144;
const PIECES_AHEAD = 2;

/**
 * out = x_0 (+, max, min) x_1 ... x_(P-1), where `own` is the member's own x and piece i of the others' comes as
 * message i. `out` may be `own`. `mayWrite(i)` resolves when piece i of `out` may change.
 */
export async function combineInOrder(
  { rank, size }: Group,
  own: F32,
  out: F32,
  reduction: Reduction,
  operation: Operation,
  wire: WireFormat,
  mayWrite: (piece: number) => Promise<unknown> = async () => undefined,
): Promise<void> {
  const pieces = Math.max(1, Math.ceil(out.length / PIECE));
  const combine = combinerOf(reduction);
  const ahead: { buffers: F32[]; received: (Promise<void> | undefined)[] }[] = [];
  const post = (piece: number, reuse?: F32[]): void => {
    const length = Math.min(PIECE, out.length - piece * PIECE);
    const buffers = Array.from({ length: size }, (_, from) =>
      from === rank
        ? own.subarray(piece * PIECE, piece * PIECE + length)
        : (reuse?.[from]?.subarray(0, length) ?? new Float32Array(length)),
    );
    ahead[piece] = {
      buffers,
      received: buffers.map((buffer, from) =>
        from === rank ? undefined : recvAs(operation, from, piece, buffer, wire),
      ),
    };
    // One that fails while another is awaited must not count as unhandled.
    for (const received of ahead[piece].received) received?.catch(() => undefined);
  };
  for (let piece = 0; piece < Math.min(PIECES_AHEAD, pieces); piece++) post(piece);
  for (let piece = 0; piece < pieces; piece++) {
    const { buffers, received } = ahead[piece];
    // The sum grows in the lowest rank's buffer, never in `own` before its turn, because `out` may be `own`.
    const target = rank === 0 ? out.subarray(piece * PIECE, piece * PIECE + buffers[0].length) : buffers[0];
    await received[0];
    if (rank === 0) await mayWrite(piece);
    if (rank === 0 && !sameMemory(target, buffers[0])) target.set(buffers[0]);
    for (let from = 1; from < size; from++) {
      await received[from];
      combine(target, buffers[from]);
    }
    if (rank !== 0) {
      await mayWrite(piece);
      out.set(target, piece * PIECE);
    }
    delete ahead[piece];
    if (piece + PIECES_AHEAD < pieces) post(piece + PIECES_AHEAD, buffers);
  }
}

function sameMemory(a: Float32Array, b: Float32Array): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset;
}
