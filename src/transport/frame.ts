// Frames: the only bytes that links exchange. Header of 36 bytes, little-endian, then payload up to the frame size that
// the sender chose, at most 256 KiB in all (Chromium closes a data channel that sends more). Unless tuned, a frame has
// 64 KiB, so that four fill a 256 KiB window:
// 0 magic u16 | 2 version u8 | 3 type u8 | 4 kind u8 | 5 dtype u8 | 6 arguments u16 | 8 run | 12 view | 16 group | 20
// seq | 24 chunk | 28 total | 32 offset (u32 each) `total` and `offset` are bytes of the whole message. Magic and
// version keep their place in every protocol version. decodeFrame is total: any bytes give a frame or a FormatError, in
// constant time and without copying the payload.

import { FormatError } from '../base/errors.ts';
import type { DType } from '../base/shape.ts';
import { MESSAGE_KINDS } from './transport.ts';
import type { MessageKind } from './transport.ts';

export const PROTOCOL_VERSION = 5;
export const HEADER_BYTES = 36;
/** Size of a whole frame where no tuner has chosen another. */
export const FRAME_BYTES = 64 * 1024;
/** Most that a peer may send in one frame. */
export const MAX_FRAME_BYTES = 256 * 1024;
export const MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - HEADER_BYTES;
const MAGIC = 0x4d54; // 'TM'

/**
 * data: a piece of a message. announce: a message too large to be sent unasked waits at the sender. grant: the receiver
 * asks for it. credit: small messages consumed so far. The others speak of the link itself; probe, probed and tuned
 * belong to the tuner (tune-link.ts).
 */
export const FRAME_TYPES = [
  'data',
  'announce',
  'grant',
  'credit',
  'heartbeat',
  'abort',
  'leave',
  'hello',
  'probe',
  'probed',
  'tuned',
] as const;
export type FrameType = (typeof FRAME_TYPES)[number];

export const DTYPES = ['f32', 'u32', 'i32'] as const satisfies readonly DType[];

/** Payload bytes that each type may carry. */
const PAYLOAD_RANGE: Readonly<Record<FrameType, readonly [min: number, max: number]>> = {
  data: [0, MAX_PAYLOAD_BYTES],
  announce: [0, 0],
  grant: [0, 0],
  credit: [16, 16],
  heartbeat: [28, 28],
  abort: [8, 1032],
  leave: [0, 0],
  hello: [20, 20],
  probe: [8, MAX_PAYLOAD_BYTES],
  probed: [4, 4],
  tuned: [16, 16],
};
const ABOUT_A_MESSAGE: readonly FrameType[] = ['data', 'announce', 'grant'];

export interface FrameHeader {
  readonly type: FrameType;
  readonly run: number;
  readonly view: number;
  readonly group: number;
  readonly seq: number;
  readonly chunk: number;
  readonly kind: MessageKind;
  readonly dtype: DType;
  /** What the sender was called with (arguments.ts); any 16 bits, only compared. */
  readonly args: number;
  /** Bytes of the whole message. */
  readonly total: number;
  /** Byte of the message where the payload begins. */
  readonly offset: number;
}

export interface Frame extends FrameHeader {
  readonly payload: Uint8Array<ArrayBuffer>;
}

/**
 * Header bytes that a message of `payloadBytes` costs in frames of `frameBytes`; an empty message still takes one
 * frame.
 */
export function framingBytes(payloadBytes: number, frameBytes = FRAME_BYTES): number {
  return HEADER_BYTES * Math.max(1, Math.ceil(payloadBytes / (frameBytes - HEADER_BYTES)));
}

/** Writes the header into the first 36 bytes of `target`. */
export function writeHeader(target: DataView, header: FrameHeader): void {
  target.setUint16(0, MAGIC, true);
  target.setUint8(2, PROTOCOL_VERSION);
  target.setUint8(3, FRAME_TYPES.indexOf(header.type));
  target.setUint8(4, MESSAGE_KINDS.indexOf(header.kind));
  target.setUint8(5, DTYPES.indexOf(header.dtype));
  target.setUint16(6, header.args, true);
  target.setUint32(8, header.run, true);
  target.setUint32(12, header.view, true);
  target.setUint32(16, header.group, true);
  target.setUint32(20, header.seq, true);
  target.setUint32(24, header.chunk, true);
  target.setUint32(28, header.total, true);
  target.setUint32(32, header.offset, true);
}

/** A frame as one fresh message. The bulk path writes into a reused buffer instead. */
export function encodeFrame(frame: Frame): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(HEADER_BYTES + frame.payload.length);
  writeHeader(new DataView(message.buffer), frame);
  message.set(frame.payload, HEADER_BYTES);
  return message;
}

/** A frame that speaks of the link itself: the message fields are zero. */
export function linkFrame(
  type: FrameType,
  run: number,
  view: number,
  payload: Uint8Array<ArrayBuffer> = new Uint8Array(0),
): Frame {
  return {
    type,
    run,
    view,
    group: 0,
    seq: 0,
    chunk: 0,
    kind: MESSAGE_KINDS[0],
    dtype: DTYPES[0],
    args: 0,
    total: 0,
    offset: 0,
    payload,
  };
}

/** The protocol version that `message` claims, or undefined when it is no frame of any version. */
export function claimedVersion(message: Uint8Array<ArrayBuffer>): number | undefined {
  if (message.length < 4 || (message[0]! | (message[1]! << 8)) !== MAGIC) return undefined;
  return message[2];
}

/** Reads one frame; `payload` is a view of `message`. Throws FormatError for anything that breaks the format. */
export function decodeFrame(message: Uint8Array<ArrayBuffer>): Frame {
  const bytes = message.length;
  if (bytes < HEADER_BYTES || bytes > MAX_FRAME_BYTES)
    throw bad(`expected ${HEADER_BYTES} to ${MAX_FRAME_BYTES} bytes, got ${bytes}`);
  const version = claimedVersion(message);
  if (version === undefined) throw bad('expected the magic number, got other bytes');
  if (version !== PROTOCOL_VERSION) throw bad(`expected protocol version ${PROTOCOL_VERSION}, got ${version}`);
  const head = new DataView(message.buffer, message.byteOffset, HEADER_BYTES);
  const type = FRAME_TYPES[head.getUint8(3)];
  const kind = MESSAGE_KINDS[head.getUint8(4)];
  const dtype = DTYPES[head.getUint8(5)];
  if (type === undefined) throw bad(`unknown frame type ${head.getUint8(3)}`);
  if (kind === undefined) throw bad(`unknown message kind ${head.getUint8(4)}`);
  if (dtype === undefined) throw bad(`unknown dtype ${head.getUint8(5)}`);
  const frame: Frame = {
    type,
    kind,
    dtype,
    args: head.getUint16(6, true),
    run: head.getUint32(8, true),
    view: head.getUint32(12, true),
    group: head.getUint32(16, true),
    seq: head.getUint32(20, true),
    chunk: head.getUint32(24, true),
    total: head.getUint32(28, true),
    offset: head.getUint32(32, true),
    payload: message.subarray(HEADER_BYTES),
  };
  checkLengths(frame);
  return frame;
}

function checkLengths(frame: Frame): void {
  const { type, total, offset } = frame;
  const length = frame.payload.length;
  const [min, max] = PAYLOAD_RANGE[type];
  if (length < min || length > max) throw bad(`a frame of type ${type} carries ${min} to ${max} bytes, got ${length}`);
  if (total % 4 || offset % 4) throw bad(`total ${total} and offset ${offset} must be multiples of 4`);
  if (type === 'data') {
    if (length % 4) throw bad(`the payload of ${length} bytes is not a multiple of 4`);
    if (offset + length > total) throw bad(`bytes ${offset} to ${offset + length} lie outside a message of ${total}`);
    if (length === 0 && total !== 0) throw bad(`no payload at byte ${offset} of ${total}`);
  } else if (offset !== 0) throw bad(`a frame of type ${type} has offset ${offset}`);
  if (
    !ABOUT_A_MESSAGE.includes(type) &&
    (total ||
      frame.group ||
      frame.seq ||
      frame.chunk ||
      frame.args ||
      frame.kind !== MESSAGE_KINDS[0] ||
      frame.dtype !== DTYPES[0])
  ) {
    throw bad(`a frame of type ${type} speaks of no message, yet names one`);
  }
}

function bad(detail: string): FormatError {
  return new FormatError('frame', detail);
}
