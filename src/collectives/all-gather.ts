// All-gather: out[part j] = the part of member j, on every member. Parts may be uneven or empty. S = bytes of all parts
// on the wire. direct: each member sends its part to all others, 1 step, (P - 1) part bytes. ring: in step t member r
// passes part (r - t) mod P to r + 1 and receives part (r - t - 1) mod P from r - 1; P - 1 steps, S minus the next
// member's part. Equal parts: (P - 1) / P * S either way. `allGatherRoute` chooses. Packed formats are encoded once by
// the owner and decoded by all, the owner included: every member ends with the same bytes.

import { ShapeError } from '../base/errors.ts';
import type { TypedArray } from '../base/shape.ts';
import { dtypeOf } from '../transport/inbox.ts';
import type { WireFormat } from '../transport/arguments.ts';
import type { CallOptions, Group, Operation } from './group.ts';
import { checkParts, partSize } from './parts.ts';
import { decode, encode, wireBytes } from './wire-format/wire-format.ts';

const DIRECT_BYTES = 256 * 1024;

export interface AllGatherOptions extends CallOptions {
  readonly route?: 'direct' | 'ring';
  /** Numbers the messages when the operation has others before; its signature stands then. */
  readonly firstChunk?: number;
}

/**
 * Direct up to 256 KiB in all, where a step costs more than the bytes; then the ring, which keeps every member at one
 * sending and one receiving link.
 */
export function allGatherRoute(bytes: number): 'direct' | 'ring' {
  return bytes <= DIRECT_BYTES ? 'direct' : 'ring';
}

/**
 * `part` may be the own part of `out` itself (in place); otherwise it must not overlap `out`. Resolves when `out` is
 * whole and `part` may be reused. Throws ShapeError for parts that do not fit, PeerError with the culprit when a member
 * fails.
 */
export async function allGather(
  group: Group,
  part: TypedArray,
  partOffsets: readonly number[],
  out: TypedArray,
  options: AllGatherOptions = {},
): Promise<void> {
  const { rank, size } = group;
  const { operation = group.begin('all-gather'), wire = 'f32', firstChunk } = options;
  checkParts('all-gather', partOffsets, size, out.length);
  if (part.length !== partSize(partOffsets, rank))
    throw new ShapeError(
      `all-gather: expected a part of ${partSize(partOffsets, rank)} elements on member ${rank}, got ${part.length}`,
    );
  const parts = Array.from({ length: size }, (_, i) => out.subarray(partOffsets[i], partOffsets[i + 1]));
  const own = parts[rank];
  if (own.buffer !== part.buffer || own.byteOffset !== part.byteOffset) own.set(part);
  const packed = wire !== 'f32' && out instanceof Float32Array;
  const bytes = wireOffsets(partOffsets, packed ? wire : 'f32').at(-1)!;
  const route = options.route ?? allGatherRoute(bytes);
  if (firstChunk === undefined) operation.sign({ dtype: dtypeOf(out), count: out.length, wire, route });
  if (size === 1 && !packed) return;
  const travelling = packed
    ? parts.map((floats, i) =>
        i === rank
          ? encode(wire, floats as Float32Array<ArrayBuffer>)
          : new Uint32Array(wireBytes(wire, floats.length) / 4),
      )
    : parts;
  await (route === 'direct' ? direct : ring)(rank, travelling, operation, firstChunk ?? 0);
  if (packed)
    for (const [i, words] of travelling.entries())
      decode(wire, words as Uint32Array<ArrayBuffer>, parts[i] as Float32Array<ArrayBuffer>);
}

async function direct(rank: number, parts: readonly TypedArray[], operation: Operation, chunk: number): Promise<void> {
  const size = parts.length;
  const pending: Promise<void>[] = [];
  for (let step = 1; step < size; step++) {
    const from = (rank - step + size) % size;
    pending.push(operation.recv(from, chunk, parts[from]));
  }
  for (let step = 1; step < size; step++) pending.push(operation.send((rank + step) % size, chunk, parts[rank]));
  await Promise.all(pending);
}

async function ring(
  rank: number,
  parts: readonly TypedArray[],
  operation: Operation,
  firstChunk: number,
): Promise<void> {
  const size = parts.length;
  const partAt = (step: number): TypedArray => parts[(rank - step + size) % size];
  const received: Promise<void>[] = [];
  for (let step = 0; step < size - 1; step++)
    received.push(operation.recv((rank - 1 + size) % size, firstChunk + step, partAt(step + 1)));
  const sent: Promise<void>[] = [];
  for (let step = 0; step < size - 1; step++) {
    if (step > 0) await received[step - 1];
    sent.push(operation.send((rank + 1) % size, firstChunk + step, partAt(step)));
  }
  await Promise.all([...received, ...sent]);
}

/** Offsets of the parts in bytes on the wire. */
function wireOffsets(partOffsets: readonly number[], wire: WireFormat): number[] {
  const offsets = [0];
  for (let i = 0; i + 1 < partOffsets.length; i++) offsets.push(offsets[i] + wireBytes(wire, partSize(partOffsets, i)));
  return offsets;
}

/** Payload bytes that `rank` sends. */
export function allGatherBytes(
  rank: number,
  partOffsets: readonly number[],
  { wire = 'f32', route }: Pick<AllGatherOptions, 'wire' | 'route'> = {},
): number {
  const size = partOffsets.length - 1;
  const bytes = wireOffsets(partOffsets, wire);
  if ((route ?? allGatherRoute(bytes[size])) === 'direct') return (size - 1) * partSize(bytes, rank);
  return size === 1 ? 0 : bytes[size] - partSize(bytes, (rank + 1) % size);
}
