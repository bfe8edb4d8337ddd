// The ring of reduce-scatter: the partial sum of part p starts at member p + 1 as its own contribution, and each
// further member adds its own and passes it on, until member p adds the last. In step t member r sends part (r - 1 - t)
// mod P to r + 1. P - 1 steps; sends S minus the own part. Parts go in pieces of 256 KiB, so that a piece is passed on
// while the next arrives. Holds two parts at most besides x and out.

import type { WireFormat } from '../../transport/arguments.ts';
import type { Group, Operation } from '../group.ts';
import { recvAs, sendAs } from '../wire-format/wire-format.ts';
import type { Combine } from './combine.ts';

type F32 = Float32Array<ArrayBuffer>;
/** A multiple of the blocks of every wire format. */
const PIECE = 65536;

/** `out` may be the own part of `x`; nothing else of `x` is written. */
export async function ringReduceScatter(
  { rank, size }: Group,
  x: F32,
  partOffsets: readonly number[],
  out: F32,
  combine: Combine,
  operation: Operation,
  wire: WireFormat,
): Promise<void> {
  const longest = longestOf(partOffsets);
  const perStep = Math.max(1, Math.ceil(longest / PIECE));
  const [next, previous] = [(rank + 1) % size, (rank - 1 + size) % size];
  const ownOf = (part: number): F32 => x.subarray(partOffsets[part], partOffsets[part + 1]);
  const partAt = (step: number): number => (rank - 1 - step + 2 * size) % size;
  const buffers = [new Float32Array(longest), new Float32Array(longest)];
  const sent: Promise<void>[][] = [];
  /** The sum to send in this step, piece by piece as it becomes whole. */
  let partial = ownOf(partAt(0));
  let ready: Promise<void>[] = piecesOf(partial).map(() => Promise.resolve());

  for (let step = 0; step < size - 1; step++) {
    const own = ownOf(partAt(step + 1));
    // What was sent from this buffer two steps ago has left it.
    await Promise.all(sent[step - 1] ?? []);
    const sum = buffers[step % 2].subarray(0, own.length);
    const ownPieces = piecesOf(own);
    const arrived = piecesOf(sum).map(async (piece, i) => {
      await recvAs(operation, previous, step * perStep + i, piece, wire);
      combine(piece, ownPieces[i]);
    });
    for (const piece of arrived) piece.catch(() => undefined);
    const wholePieces = ready;
    sent[step] = piecesOf(partial).map(async (piece, i) => {
      await wholePieces[i];
      await sendAs(operation, next, step * perStep + i, piece, wire);
    });
    for (const piece of sent[step]) piece.catch(() => undefined);
    partial = sum;
    ready = arrived;
  }
  await Promise.all([...sent.flat(), ...ready]);
  out.set(partial);
}

/** At least one piece, so that an empty part is a message too. */
function piecesOf(part: F32): F32[] {
  return Array.from({ length: Math.max(1, Math.ceil(part.length / PIECE)) }, (_, i) =>
    part.subarray(i * PIECE, (i + 1) * PIECE),
  );
}

function longestOf(partOffsets: readonly number[]): number {
  return Math.max(...partOffsets.slice(1).map((end, i) => end - partOffsets[i]));
}

/** Messages between two neighbours. */
export function ringPieceCount(partOffsets: readonly number[]): number {
  return (partOffsets.length - 2) * Math.max(1, Math.ceil(longestOf(partOffsets) / PIECE));
}
