// A buffer on one rank's GPU to a buffer on another's: piece i + 1 is read back while piece i travels and piece i - 1
// is written, so that the wire never waits for a whole readback or upload. `bytes` bytes from the sender in ceil(bytes
// / pieceBytes) sends of the two alone, so that other members need not know. At most 3 pieces are held on either side.
// Always in full precision. What has failed here (a lost device) the peer does not know: abort the communicator with
// it.

import { ShapeError } from '../base/errors.ts';
import type { Group } from '../collectives/group.ts';
import { recv, send } from '../collectives/point/send-recv.ts';
import type { Device, Range } from '../device/device.ts';

/**
 * A readback costs about half a millisecond whatever its length, and the first and the last piece overlap with nothing.
 */
export const PIECE_BYTES = 1024 * 1024;
const PIECES_AHEAD = 2;

export interface TransferOptions {
  /** Bytes of a piece, a multiple of 4; both sides must say the same. */
  readonly pieceBytes?: number;
}

/**
 * Resolves when `range` may be written again. Throws ShapeError for bytes that are no multiple of 4, PeerError when the
 * peer fails, DeviceLostError.
 */
export async function sendRange(
  group: Group,
  device: Device,
  range: Range,
  to: number,
  options: TransferOptions = {},
): Promise<void> {
  const pieces = piecesOf(range, options);
  const read = async (piece: Range): Promise<Uint32Array<ArrayBuffer>> =>
    new Uint32Array((await device.submit([], [piece]))[0]);
  const sent: Promise<void>[] = [];
  let next = pieces.length > 0 ? heard(read(pieces[0])) : undefined;
  for (let i = 0; next; i++) {
    const words = await next;
    next = i + 1 < pieces.length ? heard(read(pieces[i + 1])) : undefined;
    sent.push(heard(send(group, to, words)));
    if (i + 1 >= PIECES_AHEAD) await sent[i + 1 - PIECES_AHEAD];
  }
  await Promise.all(sent);
}

/**
 * Resolves when the last piece was given to `device.write`: what is submitted from now on sees the whole. Throws as
 * `sendRange`.
 */
export async function recvRange(
  group: Group,
  device: Device,
  range: Range,
  from: number,
  options: TransferOptions = {},
): Promise<void> {
  const pieces = piecesOf(range, options);
  const post = (
    i: number,
    reuse?: Uint32Array<ArrayBuffer>,
  ): { words: Uint32Array<ArrayBuffer>; received: Promise<void> } => {
    const words = reuse?.subarray(0, pieces[i].bytes / 4) ?? new Uint32Array(pieces[i].bytes / 4);
    return { words, received: heard(recv(group, from, words)) };
  };
  const posted = pieces.slice(0, PIECES_AHEAD).map((_, i) => post(i));
  for (const [i, piece] of pieces.entries()) {
    const { words, received } = posted[i];
    await received;
    device.write(piece.buffer, piece.offset, words);
    if (i + PIECES_AHEAD < pieces.length) posted.push(post(i + PIECES_AHEAD, words));
  }
}

function piecesOf({ buffer, offset, bytes }: Range, { pieceBytes = PIECE_BYTES }: TransferOptions): Range[] {
  if (bytes % 4 !== 0 || !(pieceBytes >= 4) || pieceBytes % 4 !== 0)
    throw new ShapeError(
      `transfer of ${buffer.label}: expected multiples of 4 bytes, got ${bytes} in pieces of ${pieceBytes}`,
    );
  return Array.from({ length: Math.ceil(bytes / pieceBytes) }, (_, i) => ({
    buffer,
    offset: offset + i * pieceBytes,
    bytes: Math.min(pieceBytes, bytes - i * pieceBytes),
  }));
}

/** A promise that is awaited later: one that fails while another is awaited must not count as unhandled. */
function heard<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
