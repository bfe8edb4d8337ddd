// The frame decoder is total and exact: any bytes give a frame or a FormatError, every frame survives the round trip,
// and nothing that the encoder would not write is accepted.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plainText } from '../../src/base/plain-text.ts';
import { FormatError, PeerError } from '../../src/base/errors.ts';
import {
  decodeAbort,
  decodeCredit,
  decodeHeartbeat,
  decodeHello,
  decodeProbe,
  decodeProbed,
  decodeTuned,
  encodeAbort,
  encodeCredit,
  encodeHeartbeat,
  encodeHello,
  encodeProbed,
  encodeTuned,
  writeProbe,
} from '../../src/transport/control.ts';
import {
  DTYPES,
  FRAME_BYTES,
  FRAME_TYPES,
  HEADER_BYTES,
  MAX_FRAME_BYTES,
  decodeFrame,
  encodeFrame,
  framingBytes,
  linkFrame,
} from '../../src/transport/frame.ts';
import type { Frame } from '../../src/transport/frame.ts';
import { MESSAGE_KINDS } from '../../src/transport/transport.ts';

const u32 = fc.oneof(
  fc.nat(8),
  fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff),
  fc.integer({ min: 0, max: 0xffffffff }),
);
const bytes = (max: number) => fc.uint8Array({ maxLength: max }).map((array) => new Uint8Array(array));

const dataFrame: fc.Arbitrary<Frame> = fc
  .record({
    run: u32,
    view: u32,
    group: u32,
    seq: u32,
    chunk: u32,
    kind: fc.constantFrom(...MESSAGE_KINDS),
    dtype: fc.constantFrom(...DTYPES),
    args: fc.nat(0xffff),
    words: fc.nat(64),
    before: fc.nat(1000),
    after: fc.nat(1000),
  })
  .map(({ words, before, after, ...rest }) => ({
    ...rest,
    type: 'data',
    payload: new Uint8Array(4 * words).fill(words),
    offset: words ? 4 * before : 0,
    total: words ? 4 * (before + words + after) : 0,
  }));

/** A valid frame with up to four header bytes, or its length, spoiled. */
const spoiled = fc
  .tuple(
    dataFrame,
    fc.array(fc.tuple(fc.nat(HEADER_BYTES - 1), fc.constantFrom(0, 1, 2, 7, 127, 128, 254, 255)), { maxLength: 4 }),
    fc.option(fc.nat(300)),
  )
  .map(([frame, spots, length]) => {
    const message = encodeFrame(frame);
    for (const [at, value] of spots) message[at] = value;
    return length === null ? message : message.slice(0, length);
  });

/** Throws anything but a FormatError onwards; true when the bytes were a frame. */
function decodes(message: Uint8Array<ArrayBuffer>): boolean {
  let frame: Frame;
  try {
    frame = decodeFrame(message);
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
  // What is accepted lies within its message, and the encoder would have written the same bytes. (Plain ifs: expect()
  // costs more than the decoder.)
  if (frame.payload.buffer !== message.buffer) throw new Error('the payload was copied');
  if (frame.type === 'data' && frame.offset + frame.payload.length > frame.total)
    throw new Error('the payload lies outside its message');
  const again = encodeFrame(frame);
  if (again.length !== message.length || again.some((byte, i) => byte !== message[i]))
    throw new Error('accepted bytes that the encoder would not write');
  return true;
}

describe('frame', () => {
  it('survives the round trip', () => {
    fc.assert(
      fc.property(dataFrame, (frame) => {
        expect(decodeFrame(encodeFrame(frame))).toEqual(frame);
      }),
      { numRuns: 2000 },
    );
  });

  it('gives a frame or a FormatError for 150000 inputs, half of them nearly right', () => {
    let accepted = 0;
    fc.assert(
      fc.property(bytes(120), (message) => {
        if (decodes(message)) accepted++;
      }),
      { numRuns: 75_000 },
    );
    expect(accepted).toBe(0); // random bytes hit the magic number and all checks about never
    let refused = 0;
    fc.assert(
      fc.property(spoiled, (message) => {
        if (decodes(message)) accepted++;
        else refused++;
      }),
      { numRuns: 75_000 },
    );
    expect(accepted).toBeGreaterThan(5000);
    expect(refused).toBeGreaterThan(5000);
  });

  it('refuses each broken field by name', () => {
    const good = (): Uint8Array<ArrayBuffer> =>
      encodeFrame({ ...linkFrame('data', 1, 2, new Uint8Array(8)), total: 16, offset: 8 });
    expect(decodes(good())).toBe(true);
    const cases: [string, (view: DataView) => void][] = [
      ['magic', (view) => view.setUint8(0, 0)],
      ['version', (view) => view.setUint8(2, 9)],
      ['frame type', (view) => view.setUint8(3, FRAME_TYPES.length)],
      ['message kind', (view) => view.setUint8(4, MESSAGE_KINDS.length)],
      ['dtype', (view) => view.setUint8(5, DTYPES.length)],
      ['outside', (view) => view.setUint32(28, 12, true)],
      ['outside', (view) => view.setUint32(32, 0xfffffffc, true)],
      ['multiples of 4', (view) => view.setUint32(32, 2, true)],
      ['type grant', (view) => view.setUint8(3, FRAME_TYPES.indexOf('grant'))],
      ['type leave', (view) => view.setUint8(3, FRAME_TYPES.indexOf('leave'))],
    ];
    for (const [text, spoil] of cases) {
      const message = good();
      spoil(new DataView(message.buffer));
      expect(() => decodeFrame(message), text).toThrow(text);
    }
    const beat = encodeFrame(linkFrame('heartbeat', 1, 2, new Uint8Array(28)));
    beat[6] = 1;
    expect(() => decodeFrame(beat)).toThrow('yet names one');
    expect(() => decodeFrame(new Uint8Array(MAX_FRAME_BYTES + 1))).toThrow('262145');
    expect(() => decodeFrame(new Uint8Array(0))).toThrow(FormatError);
  });

  it('catches a decoder without the range check (seeded defect)', () => {
    const message = encodeFrame({ ...linkFrame('data', 1, 1, new Uint8Array(8)), total: 4, offset: 0 });
    expect(decodes(message)).toBe(false);
    // The same reading without checkLengths accepts it:
    const view = new DataView(message.buffer);
    expect(view.getUint32(32, true) + message.length - HEADER_BYTES).toBeGreaterThan(view.getUint32(28, true));
  });

  it('counts the framing of a message', () => {
    const whole = FRAME_BYTES - HEADER_BYTES;
    expect([0, 4, whole, whole + 4].map((bytes) => framingBytes(bytes))).toEqual([36, 36, 36, 72]);
    expect([whole, whole + 4].map((bytes) => framingBytes(bytes, 2 * FRAME_BYTES))).toEqual([36, 36]);
    expect(4 * FRAME_BYTES).toBe(256 * 1024);
  });
});

describe('payloads of link frames', () => {
  it('survive the round trip', () => {
    fc.assert(
      fc.property(u32, u32, fc.boolean(), u32, u32, (sender, receiver, heard, lanes, tuneMs) => {
        const hello = { sender, receiver, heard, lanes, tuneMs };
        expect(decodeHello(encodeHello(hello))).toEqual(hello);
      }),
    );
    fc.assert(
      fc.property(u32, u32, fc.nat(100), (burst, left, padding) => {
        const payload = new Uint8Array(8 + padding);
        writeProbe(payload, { burst, left });
        expect([decodeProbe(payload), decodeProbed(encodeProbed(burst))]).toEqual([{ burst, left }, burst]);
      }),
    );
    fc.assert(
      fc.property(u32, u32, fc.double(), (frameBytes, windowBytes, rate) => {
        expect(decodeTuned(encodeTuned({ frameBytes, windowBytes, bytesPerMs: rate }))).toEqual({
          frameBytes,
          windowBytes,
          bytesPerMs: rate >= 0 && rate < Infinity ? rate : 0,
        });
      }),
    );
    fc.assert(
      fc.property(fc.double(), fc.double(), fc.double(), (sentAt, echo, heldMs) => {
        const beat = { sentAt, echo, heldMs, waitsFor: sentAt > echo ? 3 : undefined };
        expect(decodeHeartbeat(encodeHeartbeat(beat))).toEqual(beat);
      }),
    );
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
        expect(decodeCredit(encodeCredit({ bytes: a, messages: b }))).toEqual({ bytes: a, messages: b });
      }),
    );
    fc.assert(
      fc.property(fc.nat(), fc.string({ maxLength: 200, unit: 'grapheme' }), (culprit, text) => {
        const error = decodeAbort(encodeAbort(new PeerError(culprit, 'slow', text)), culprit);
        expect([error.culprit, error.evidence, error.message]).toEqual([
          culprit,
          'slow',
          `rank ${culprit} slow: ${plainText(text, 10_000)}`,
        ]);
      }),
    );
  });

  it('give a value or a FormatError for any bytes', () => {
    for (const decode of [
      decodeHello,
      decodeHeartbeat,
      decodeCredit,
      decodeProbed,
      decodeTuned,
      (payload: Uint8Array<ArrayBuffer>) => decodeAbort(payload, 1),
    ]) {
      fc.assert(
        fc.property(
          fc.oneof(
            bytes(40),
            fc
              .constantFrom(4, 16, 20, 28)
              .chain((n) => fc.uint8Array({ minLength: n, maxLength: n }).map((array) => new Uint8Array(array))),
          ),
          (payload) => {
            try {
              decode(payload);
            } catch (error) {
              if (!(error instanceof FormatError)) throw error;
            }
          },
        ),
        { numRuns: 5000 },
      );
    }
  });
});
