// What every transport must hold, as one function: called with a maker of two connected pairs of lanes. The wires
// first, then the links over them. Each link check is a function of the lanes, so that a seeded defect can be put
// between and must be caught.

import { afterEach, describe, expect, it } from 'vitest';
import { PeerError } from '../../src/base/errors.ts';
import type { TypedArray } from '../../src/base/shape.ts';
import { realWorld } from '../../src/base/world.ts';
import type { World } from '../../src/base/world.ts';
import { LOW_WATER_BYTES, MAX_MESSAGE_BYTES } from '../../src/transport/base-wire.ts';
import { FRAME_BYTES, HEADER_BYTES, PROTOCOL_VERSION, encodeFrame, linkFrame } from '../../src/transport/frame.ts';
import { createLink } from '../../src/transport/link.ts';
import type { LinkOptions } from '../../src/transport/link.ts';
import type { Lanes, Link, MessageKind, Tag, Wire } from '../../src/transport/transport.ts';

export interface LanesPair {
  readonly a: Lanes;
  readonly b: Lanes;
  close?(): void;
}

export const RUN = 7;
export const VIEW = 3;
export const WINDOW_BYTES = 256 * 1024;
const PAYLOAD_BYTES = FRAME_BYTES - HEADER_BYTES;
const PEERS = { a: 4, b: 9 } as const;

export function tag(seq: number, chunk = 0, kind: MessageKind = 'gradient', group = 1): Tag {
  return { group, seq, chunk, kind };
}

export function link(
  lanes: Lanes,
  side: 'a' | 'b',
  options: Partial<LinkOptions> = {},
  world: World = realWorld,
): Link {
  return createLink({
    lanes,
    self: PEERS[side],
    peer: PEERS[side === 'a' ? 'b' : 'a'],
    run: RUN,
    view: VIEW,
    world,
    ...options,
  });
}

/** Real channels of a busy machine may be silent for long; how silence ends a link is checked in virtual time. */
const PATIENT_MS = 60_000;

export function links({ a, b }: LanesPair, options: Partial<LinkOptions> = {}): { a: Link; b: Link } {
  const patient = { silentMs: PATIENT_MS, ...options };
  return { a: link(a, 'a', patient), b: link(b, 'b', patient) };
}

export function ramp(count: number, start = 0): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => (start + i) % 65521);
}

/** First index where the arrays differ in length or value, or -1. Much faster than toEqual on long arrays. */
export function firstDifference(a: TypedArray, b: TypedArray): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}

export async function rejection(promise: Promise<unknown>): Promise<PeerError> {
  const error: unknown = await promise.then(
    () => new Error('expected a rejection, got a value'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof PeerError)) throw error;
  return error;
}

/** The wire with `send` replaced, for faults and for counting. */
export function tapped(
  wire: Wire,
  send: (message: Uint8Array<ArrayBuffer>, pass: (message: Uint8Array<ArrayBuffer>) => void) => void,
): Wire {
  return {
    kind: wire.kind,
    get bufferedAmount() {
      return wire.bufferedAmount;
    },
    send: (message) => send(message, (passed) => wire.send(passed)),
    close: () => wire.close(),
    get onDrain() {
      return wire.onDrain;
    },
    set onDrain(handler) {
      wire.onDrain = handler;
    },
    get onMessage() {
      return wire.onMessage;
    },
    set onMessage(handler) {
      wire.onMessage = handler;
    },
    get onClose() {
      return wire.onClose;
    },
    set onClose(handler) {
      wire.onClose = handler;
    },
  };
}

/** The n-th message and close of a wire, in order. */
function recorder(wire: Wire): {
  messages: Uint8Array<ArrayBuffer>[];
  until(count: number): Promise<void>;
  closed: Promise<string>;
} {
  const messages: Uint8Array<ArrayBuffer>[] = [];
  let waiting: { count: number; resolve: () => void } | undefined;
  wire.onMessage = (message) => {
    messages.push(message);
    if (waiting && messages.length >= waiting.count) waiting.resolve();
  };
  const closed = new Promise<string>((resolve) => {
    wire.onClose = resolve;
  });
  return {
    messages,
    closed,
    until: (count) =>
      new Promise((resolve) => {
        if (messages.length >= count) resolve();
        else waiting = { count, resolve };
      }),
  };
}

/** A frame of an older view must not touch the message that the receiver awaits in this view. */
export async function checkOtherViewsAreDropped({ a, b }: LanesPair): Promise<void> {
  const pair = links({ a, b });
  // Too large for the latency lane: all of it goes by bulk, in order.
  const out = new Float32Array(8000);
  const received = pair.b.recv(tag(1), out);
  const stale = new Uint8Array(new Float32Array(8000).fill(666).buffer);
  for (const [run, view] of [
    [RUN, VIEW - 1],
    [RUN + 1, VIEW],
  ] as const) {
    a.bulk.send(encodeFrame({ ...linkFrame('data', run, view, stale), ...tag(1), dtype: 'f32', total: stale.length }));
  }
  await pair.a.send(tag(1), ramp(8000));
  await received;
  expect(firstDifference(out, ramp(8000))).toBe(-1);
  expect(pair.b.stats.dropped).toBe(2);
  pair.a.leave();
}

export function transportContract(
  name: string,
  connect: () => Promise<LanesPair>,
  options: { bigBytes?: number } = {},
): void {
  describe(`transport ${name}`, () => {
    const made: LanesPair[] = [];
    async function lanes(): Promise<LanesPair> {
      const pair = await connect();
      made.push(pair);
      return pair;
    }
    afterEach(() => {
      for (const { a, b, close } of made.splice(0)) {
        for (const wire of [a.control, a.bulk, b.control, b.bulk]) wire.close();
        close?.();
      }
    });
    wireChecks(lanes);
    messageChecks(lanes, options.bigBytes ?? 64 * 1024 * 1024);
    failureChecks(lanes);
  });
}

function wireChecks(lanes: () => Promise<LanesPair>): void {
  it('keeps order, sizes and bytes, also of messages sent before anybody listens', async () => {
    const { a, b } = await lanes();
    const scratch = new Uint8Array(2000);
    const count = 500;
    for (let i = 0; i < count; i++) {
      if (i === 20) await Promise.resolve();
      scratch.fill(i & 255, 0, i + 1);
      a.bulk.send(scratch.subarray(0, i + 1)); // the scratch is reused at once
      scratch.fill(0);
    }
    const { messages, until } = recorder(b.bulk);
    await until(count);
    for (let i = 0; i < count; i++)
      expect(messages[i]!.length === i + 1 && messages[i]!.every((byte) => byte === (i & 255)), `message ${i}`).toBe(
        true,
      );
  });

  it('moves the largest message whole, both ways at once', async () => {
    const { a, b } = await lanes();
    const [atA, atB] = [recorder(a.bulk), recorder(b.bulk)];
    a.bulk.send(new Uint8Array(MAX_MESSAGE_BYTES).fill(1));
    b.bulk.send(new Uint8Array(MAX_MESSAGE_BYTES).fill(2));
    await Promise.all([atA.until(1), atB.until(1)]);
    expect([atA.messages[0]!.length, atA.messages[0]![9], atB.messages[0]!.length, atB.messages[0]![9]]).toEqual([
      MAX_MESSAGE_BYTES,
      2,
      MAX_MESSAGE_BYTES,
      1,
    ]);
  });

  it('counts what is buffered and tells when it has drained', async () => {
    const { a, b } = await lanes();
    recorder(b.bulk);
    const drained = new Promise<number>((resolve) => {
      a.bulk.onDrain = () => resolve(a.bulk.bufferedAmount);
    });
    for (let i = 0; i < 16; i++) a.bulk.send(new Uint8Array(65536));
    expect(a.bulk.bufferedAmount).toBeGreaterThanOrEqual(LOW_WATER_BYTES);
    expect(await drained).toBeLessThan(LOW_WATER_BYTES);
  });

  it('tells a reason when the other end closes, after what was sent before', async () => {
    const { a, b } = await lanes();
    const { messages, closed } = recorder(b.bulk);
    for (let i = 0; i < 50; i++) a.bulk.send(new Uint8Array(1000));
    a.bulk.close();
    expect((await closed).length).toBeGreaterThan(5);
    expect(messages.length).toBe(50);
    a.bulk.send(new Uint8Array(1)); // ignored
  });
}

function messageChecks(lanes: () => Promise<LanesPair>, bigBytes: number): void {
  it('matches messages by tag, not by order', async () => {
    const { a, b } = links(await lanes());
    const sent: TypedArray[] = [
      ramp(5),
      new Uint32Array([1, 2 ** 32 - 1]),
      new Int32Array([-1]),
      new Float32Array(0),
      ramp(40000),
    ];
    const sends = sent.map((data, i) => a.send(tag(i % 2, i), data));
    const outs = [
      new Float32Array(5),
      new Uint32Array(2),
      new Int32Array(1),
      new Float32Array(0),
      new Float32Array(40000),
    ];
    for (const i of [4, 2, 3, 0, 1]) await b.recv(tag(i % 2, i), outs[i]!);
    await Promise.all(sends);
    expect(outs.map((out, i) => firstDifference(out, sent[i]!))).toEqual([-1, -1, -1, -1, -1]);
  });

  it('resolves recvUpTo with the length that the sender chose, also nothing', async () => {
    const { a, b } = links(await lanes());
    const lengths = [0, 1, PAYLOAD_BYTES / 4, 100000];
    const received = lengths.map((_, i) => b.recvUpTo(tag(i), 'f32', 100000));
    for (const [i, length] of lengths.entries()) await a.send(tag(i), ramp(length, i));
    for (const [i, length] of lengths.entries()) expect(firstDifference(await received[i]!, ramp(length, i))).toBe(-1);
    void a.send(tag(9), ramp(70000));
    await a.send(tag(10), ramp(3));
    expect(firstDifference(await b.recvUpTo(tag(9), 'f32', 70000), ramp(70000))).toBe(-1);
    expect(await b.recvUpTo(tag(10), 'f32', 70000)).toEqual(ramp(3));
  });

  it(`moves ${bigBytes >> 20} MiB each way with at most ${WINDOW_BYTES} bytes in flight`, async () => {
    const { a, b } = await lanes();
    let most = 0;
    const bulk = tapped(a.bulk, (message, pass) => {
      pass(message);
      most = Math.max(most, a.bulk.bufferedAmount);
    });
    const pair = links({ a: { ...a, bulk }, b });
    const data = ramp(bigBytes / 4);
    const [outA, outB] = [new Float32Array(data.length), new Float32Array(data.length)];
    await Promise.all([
      pair.a.recv(tag(0), outA),
      pair.b.recv(tag(0), outB),
      pair.a.send(tag(0), data),
      pair.b.send(tag(0), data),
    ]);
    expect([firstDifference(outA, data), firstDifference(outB, data)]).toEqual([-1, -1]);
    expect(most).toBeLessThanOrEqual(WINDOW_BYTES);
    expect(most).toBeGreaterThan(WINDOW_BYTES / 2);
    expect([pair.a.stats.payloadSent, pair.b.stats.payloadReceived]).toEqual([bigBytes, bigBytes]);
  });

  it('lets a large message wait at the sender without holding up a small one', async () => {
    const { a, b } = links(await lanes());
    let sent = false;
    const big = a.send(tag(1), ramp(3_000_000)).then(() => {
      sent = true;
    });
    await a.send(tag(2), ramp(10));
    const small = new Float32Array(10);
    await b.recv(tag(2), small);
    expect(small).toEqual(ramp(10));
    expect(sent).toBe(false);
    const out = new Float32Array(3_000_000);
    await Promise.all([b.recv(tag(1), out), big]);
    expect(out.at(-1)).toBe(2_999_999 % 65521);
  });

  it('lets 40 MiB of small messages wait for a receiver that comes late', async () => {
    const { a, b } = links(await lanes());
    const count = 160;
    const sends = Promise.all(Array.from({ length: count }, (_, i) => a.send(tag(i), ramp(65536, i))));
    // Small messages go first, so whatever may come ahead of its receive has come when the large one is there.
    await Promise.all([a.send(tag(1000), ramp(100_000)), b.recv(tag(1000), new Float32Array(100_000))]);
    expect(b.stats.payloadReceived).toBe((16 << 20) + 400_000);
    for (let i = 0; i < count; i++) {
      const out = new Float32Array(65536);
      await b.recv(tag(i), out);
      expect(out[0]).toBe(i);
    }
    await sends;
  });
}

function failureChecks(lanes: () => Promise<LanesPair>): void {
  it('prints both signatures when the ends disagree', async () => {
    for (const [data, out, kind] of [
      [ramp(10), ramp(9), 'gradient'],
      [ramp(10), new Uint32Array(10), 'gradient'],
      [ramp(10), ramp(10), 'barrier'],
      [ramp(200_000), ramp(10), 'gradient'],
      [ramp(10), ramp(200_000), 'gradient'],
      [ramp(200_000), ramp(200_001), 'gradient'],
    ] as const) {
      const { a, b } = links(await lanes());
      const sent = a.send(tag(5), data);
      const error = await rejection(b.recv(tag(5, 0, kind), out));
      expect(error.evidence).toBe('wrong-signature');
      expect(error.culprit).toBe(PEERS.a);
      expect(error.message).toContain(`gradient f32[${data.length}]`);
      expect(error.message).toContain(`${kind} ${out instanceof Uint32Array ? 'u32' : 'f32'}[${out.length}]`);
      expect((await a.failed).message).toContain(error.message);
      await sent.catch((reason: unknown) => expect(reason).toBeInstanceOf(PeerError));
    }
  });

  it('fails with `corrupt` on garbage, on either lane', async () => {
    for (const lane of ['control', 'bulk'] as const) {
      const pair = await lanes();
      const { b } = links(pair);
      const received = rejection(b.recv(tag(1), ramp(1)));
      pair.a[lane].send(new Uint8Array([1, 2, 3, 4, 5]));
      const error = await received;
      expect([error.evidence, error.culprit]).toEqual(['corrupt', PEERS.a]);
      expect(await rejection(b.recv(tag(2), ramp(1)))).toBe(error); // at once, with the same error
      expect(await rejection(b.send(tag(2), ramp(1)))).toBe(error);
    }
  });

  it('drops and counts frames of another run or view', async () => {
    await checkOtherViewsAreDropped(await lanes());
  });

  it('catches a missing view check (seeded defect: the view of every frame is overwritten with ours)', async () => {
    const { a, b } = await lanes();
    const blind = tapped(a.bulk, (message, pass) => {
      const forged = message.slice();
      new DataView(forged.buffer).setUint32(8, RUN, true);
      new DataView(forged.buffer).setUint32(12, VIEW, true);
      pass(forged);
    });
    await expect(checkOtherViewsAreDropped({ a: { ...a, bulk: blind }, b })).rejects.toThrow();
  });

  it('names the version of a peer that speaks another protocol', async () => {
    const pair = await lanes();
    const b = link(pair.b, 'b');
    const hello = encodeFrame(linkFrame('hello', RUN, VIEW, new Uint8Array(20)));
    hello[2] = PROTOCOL_VERSION + 1;
    pair.a.control.send(hello);
    const error = await b.failed;
    expect(error.evidence).toBe('version');
    expect(error.message).toContain(`version ${PROTOCOL_VERSION + 1}, this tab ${PROTOCOL_VERSION}`);
  });

  it('fails at once when the wire closes, naming the peer', async () => {
    const pair = await lanes();
    const { b } = links(pair);
    const received = rejection(b.recv(tag(1), ramp(1)));
    const sent = rejection(b.send(tag(2), ramp(1_000_000)));
    pair.a.bulk.close();
    pair.a.control.close();
    expect([(await received).evidence, (await received).culprit, (await sent).evidence]).toEqual([
      'closed',
      PEERS.a,
      'closed',
    ]);
  });

  it('carries culprit, evidence and text of an abort, ahead of the bulk', async () => {
    const { a, b } = links(await lanes());
    const received = rejection(b.recv(tag(1), ramp(1)));
    const stuck = rejection(a.send(tag(2), ramp(1_000_000)));
    const error = new PeerError(6, 'non-finite', 'its gradient of wte.weight holds NaN');
    a.abort(error);
    expect(await stuck).toBe(error);
    const told = await received;
    expect([told.culprit, told.evidence]).toEqual([6, 'non-finite']);
    expect(told.message).toBe(`rank 6 non-finite: its gradient of wte.weight holds NaN (told by rank ${PEERS.a})`);
    expect(await b.failed).toBe(told);
  });

  it('delivers everything sent before a leave, then fails with `left`', async () => {
    const { a, b } = links(await lanes());
    const first = new Float32Array(60000);
    const awaited = b.recv(tag(0), first);
    await Promise.all([a.send(tag(0), ramp(60000)), a.send(tag(1), ramp(3))]);
    a.leave();
    await awaited;
    expect([(await b.failed).evidence, (await b.failed).culprit]).toEqual(['left', PEERS.a]);
    const late = new Float32Array(3);
    await b.recv(tag(1), late); // it had arrived whole
    expect([first[59999], late[2]]).toEqual([59999, 2]);
    expect((await rejection(b.recv(tag(2), late))).evidence).toBe('left');
    expect((await rejection(a.recv(tag(2), late))).evidence).toBe('left');
  });

  it('strikes a peer that sends what nobody awaits beyond the caps, or large messages unasked', async () => {
    const full = new Uint8Array(PAYLOAD_BYTES);
    const floods: [count: number, payload: Uint8Array<ArrayBuffer>, total: number][] = [
      [9000, new Uint8Array(0), 0],
      [540, full, full.length],
      [1, new Uint8Array(4), 0xfffffffc],
    ];
    for (const [count, payload, total] of floods) {
      const pair = await lanes();
      const b = link(pair.b, 'b');
      const { bulk } = pair.a;
      for (let i = 0; i < count; i++) {
        bulk.send(encodeFrame({ ...linkFrame('data', RUN, VIEW, payload), ...tag(i), dtype: 'f32', total }));
        if (bulk.bufferedAmount > WINDOW_BYTES)
          await Promise.race([
            b.failed,
            new Promise<void>((resolve) => {
              bulk.onDrain = resolve;
            }),
          ]);
      }
      const error = await b.failed;
      expect([error.evidence, error.culprit]).toEqual(['corrupt', PEERS.a]);
    }
  });
}
