// Many inputs (`npm run test:all`: a million) for each decoder that reads a peer's bytes, most of them nearly right: a
// value or the typed error, at most 1 MB more heap, and for links no throw, no hang, and nothing held beyond the caps.
// A failure prints the decoder, the seed and the bytes.

import { getHeapStatistics } from 'node:v8';
import { afterAll, expect, it } from 'vitest';
import { FormatError, PeerError } from '../../src/base/errors.ts';
import { VirtualWorld } from '../../src/base/world.ts';
import { decodeMessage, encodeMessage } from '../../src/cluster/messages.ts';
import { decodePresence, encodePresence } from '../../src/cluster/presence.ts';
import { decodeLentIce } from '../../src/cluster/ice/servers.ts';
import { decode, wireBytes } from '../../src/collectives/wire-format/wire-format.ts';
import { WIRE_FORMATS, describeArguments } from '../../src/transport/arguments.ts';
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
} from '../../src/transport/control.ts';
import { FRAME_TYPES, HEADER_BYTES, decodeFrame, encodeFrame, linkFrame } from '../../src/transport/frame.ts';
import { createLink } from '../../src/transport/link.ts';
import { loopbackPair } from '../../src/transport/loopback.ts';
import { MESSAGE_KINDS } from '../../src/transport/transport.ts';
import type { Tag } from '../../src/transport/transport.ts';
import { presence } from '../cluster/support.ts';
import { tapped } from '../contracts/transport-contract.ts';
import { dice } from '../support/dice.ts';
import { mutate } from '../support/mutate.ts';
import { ALL } from '../support/sample.ts';

const MB = 1024 * 1024;
/** Inputs between two looks at the heap: an input that takes more than 1 MB shows, since the others add little. */
const BATCH = 50;
/** Inputs of each decoder. */
const MANY = ALL ? 1_000_000 : 100_000;
/** Inputs by decoder. */
const inputs = new Map<string, number>();
// Most inputs are refused, and a stack trace costs ten times as much as a refusal.
Error.stackTraceLimit = 0;

function heap(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Runs `decoder` on `count` mutations of `corpus`; throws at the first that breaks the rules. Resolves with how many
 * were accepted.
 */
function fuzz(
  name: string,
  seed: number,
  count: number,
  corpus: readonly Bytes[],
  decoder: (bytes: Bytes) => void,
): number {
  const d = dice(seed);
  let accepted = 0;
  for (let done = 0; done < count; done += BATCH) {
    const batch = Array.from({ length: BATCH }, () =>
      d.below(8) === 0
        ? d.bytes(d.below(80))
        : mutate(corpus[d.below(corpus.length)], corpus[d.below(corpus.length)], d),
    );
    const before = heap();
    for (const bytes of batch) {
      try {
        decoder(bytes);
        accepted++;
      } catch (error) {
        if (!(error instanceof FormatError))
          throw new Error(`${name}, seed ${seed}: ${String(error)} for [${bytes.join(', ')}]`, { cause: error });
      }
    }
    const grown = heap() - before;
    if (grown > MB) throw new Error(`${name}, seed ${seed}: ${BATCH} inputs took ${grown} bytes`);
  }
  inputs.set(name, (inputs.get(name) ?? 0) + count);
  return accepted;
}

/** Frames as a session has them. */
function frames(): Bytes[] {
  const d = dice(9);
  const list = FRAME_TYPES.map((type) => {
    const payload = {
      data: new Uint8Array(24),
      announce: undefined,
      grant: undefined,
      credit: encodeCredit({ bytes: 70_000, messages: 3 }),
      heartbeat: encodeHeartbeat({ sentAt: 1000.5, echo: NaN, heldMs: 3, waitsFor: 2 }),
      abort: encodeAbort(new PeerError(1, 'silent', 'nothing came')),
      leave: undefined,
      hello: encodeHello({ sender: 1, receiver: 0, heard: true, lanes: 2, tuneMs: 300 }),
      probe: new Uint8Array(40),
      probed: encodeProbed(1),
      tuned: encodeTuned({ frameBytes: 65536, windowBytes: 262144, bytesPerMs: 25_000 }),
    }[type];
    const frame = linkFrame(type, 7, 3, payload);
    if (type === 'data')
      return encodeFrame({ ...frame, group: 1, seq: 2, chunk: 0, kind: 'all-reduce', args: 9, total: 24 });
    return encodeFrame(
      type === 'announce' || type === 'grant'
        ? { ...frame, group: 1, seq: 3, chunk: 0, kind: 'all-gather', total: 300_000 }
        : frame,
    );
  });
  for (let i = 0; i < 20; i++)
    list.push(
      encodeFrame({
        ...linkFrame('data', 7, 3, d.bytes(4 * d.below(30))),
        group: d.below(2),
        seq: d.below(5),
        chunk: d.below(3),
        kind: MESSAGE_KINDS[d.below(MESSAGE_KINDS.length)],
        args: d.below(65536),
        total: 400,
        offset: 4 * d.below(60),
      }),
    );
  return list;
}

it('frames', () => {
  const accepted = fuzz('frame', 1, MANY, frames(), (bytes) => {
    const { payload, total, offset, args } = decodeFrame(bytes);
    if (
      payload.buffer !== bytes.buffer ||
      payload.length !== bytes.length - HEADER_BYTES ||
      offset + payload.length > Math.max(total, payload.length)
    )
      throw new Error('the payload lies outside its message');
    if (describeArguments(args).length > 60) throw new Error('too many words');
  });
  expect(accepted / MANY).toBeGreaterThan(0.1);
});

it('payloads of link frames', () => {
  const cases: [string, (bytes: Bytes) => unknown, Bytes[]][] = [
    [
      'hello',
      decodeHello,
      [
        encodeHello({ sender: 1, receiver: 0, heard: false, lanes: 1, tuneMs: 0 }),
        encodeHello({ sender: 5, receiver: 9, heard: true, lanes: 2, tuneMs: 60_000 }),
      ],
    ],
    [
      'heartbeat',
      decodeHeartbeat,
      [
        encodeHeartbeat({ sentAt: 1, echo: 2, heldMs: 3, waitsFor: undefined }),
        encodeHeartbeat({ sentAt: 1e300, echo: NaN, heldMs: -0, waitsFor: 4 }),
      ],
    ],
    [
      'tuned',
      decodeTuned,
      [
        encodeTuned({ frameBytes: 65536, windowBytes: 262144, bytesPerMs: 25_000 }),
        encodeTuned({ frameBytes: 0, windowBytes: 2 ** 32 - 1, bytesPerMs: NaN }),
      ],
    ],
    ['probe', decodeProbe, [Uint8Array.of(1, 0, 0, 0, 0, 1, 0, 0), new Uint8Array(60)]],
    ['probed', decodeProbed, [encodeProbed(0), encodeProbed(0xffffffff)]],
    [
      'credit',
      decodeCredit,
      [encodeCredit({ bytes: 0, messages: 0 }), encodeCredit({ bytes: 2 ** 40, messages: 900 })],
    ],
    [
      'abort',
      (bytes) => decodeAbort(bytes, 1),
      [
        encodeAbort(new PeerError(3, 'slow', 'x'.repeat(900))),
        encodeAbort(new PeerError(0, 'left', 'ß𝄞 (told by rank 7)')),
      ],
    ],
  ];
  for (const [name, decoder, corpus] of cases) expect(fuzz(name, 2, MANY, corpus, decoder), name).toBeGreaterThan(1000);
});

it('signals and presence of a room, and what a server lends', () => {
  const here = presence(3);
  const busy = presence(3, {
    run: { run: 1, wish: 2, view: 3, rank: 0, size: 2, phase: 'forming' },
    wants: { wish: 4, run: 5, worldSize: 2, plan: { config: {} } },
    ended: { run: 6, wish: 7, step: 8, how: 'done' },
  });
  const deep = new TextEncoder().encode(
    `{"type":"news","run":9,"body":{"step":4,"curve":${'['.repeat(12)}${']'.repeat(12)}}}`,
  );
  const odd = [
    '{"type":"start","view":1e308}',
    '{"__proto__":1,"type":"start","view":4}',
    '{"type":"start","type":"start","view":4}',
    '{"type":"start","view":-0}',
    `${'['.repeat(500)}`,
    '"\\ud800"',
    '{"type":"abandon","view":4,"reason":"\\u0000","end":"again"}',
  ].map((text) => new TextEncoder().encode(text));
  const messages = [
    encodeMessage({
      type: 'offer',
      view: {
        view: 4,
        run: 0xffffffff,
        wish: 5,
        members: [here.address],
        plan: { layout: 'dp=2', nested: [1, { a: null }] },
      },
    }),
    encodeMessage({
      type: 'report',
      view: 4,
      report: { rank: 1, ready: false, note: 'compiling', links: [{ state: 'open', attempt: 2 }, undefined] },
    }),
    encodeMessage({ type: 'retry', view: 4, pairs: [{ low: 0, high: 2, attempt: 3 }] }),
    encodeMessage({ type: 'ice', view: 4, attempt: 1, data: { type: 'offer', sdp: 'v=0' } }),
  ];
  expect(fuzz('signal', 3, MANY, [...messages, deep, ...odd], decodeMessage)).toBeGreaterThan(1000);
  expect(
    fuzz('presence', 4, MANY, [...odd, ...odd.map(() => encodePresence(busy))], (bytes) =>
      decodePresence(bytes, here.address),
    ),
  ).toBeGreaterThan(500);
  const lent = [
    '{"iceServers":[{"urls":["stun:a.example:3478"]},{"urls":"turn:b.example?transport=tcp","username":"u","credential":"c"}],"ttl":600}',
    '{"iceServers":[]}',
  ].map((text) => new TextEncoder().encode(text));
  expect(
    fuzz('ice servers', 7, MANY, [...lent, ...lent, ...odd], (bytes) => decodeLentIce(new TextDecoder().decode(bytes))),
  ).toBeGreaterThan(500);
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

it('packed numbers', () => {
  const d = dice(5);
  const pool = Uint32Array.from({ length: 100_000 }, () => d.bits());
  for (const wire of WIRE_FORMATS) {
    for (let done = 0; done < MANY; done += BATCH) {
      const before = heap();
      for (let i = 0; i < BATCH; i++) {
        const count = d.below(40);
        const from = d.below(90_000);
        decode(wire, pool.slice(from, from + wireBytes(wire, count) / 4), new Float32Array(count));
      }
      if (heap() - before > MB) throw new Error(`${wire}: ${BATCH} inputs took ${heap() - before} bytes`);
    }
    inputs.set(wire, MANY);
  }
});

it('links: frames of a captured session, a third of them mutated, in sessions of 40', async () => {
  const corpus = await capture();
  const d = dice(6);
  const tag = (seq: number): Tag => ({ group: 1, seq, chunk: 0, kind: 'gradient' });
  const FRAMES = 40;
  const SESSIONS = MANY / FRAMES;
  let failed = 0;
  for (let session = 0; session < SESSIONS; session++) {
    const world = new VirtualWorld(session);
    const [control, bulk] = [loopbackPair(), loopbackPair()];
    const link = createLink({
      lanes: { control: control.ends[1], bulk: bulk.ends[1] },
      self: 1,
      peer: 0,
      run: 7,
      view: 3,
      world,
    });
    let error: PeerError | undefined;
    void link.failed.then((reason) => {
      error = reason;
    });
    const outs = [new Float32Array(3), new Float32Array(200_000)];
    const awaited = [
      link.recv(tag(0), outs[0]),
      link.recv(tag(1), outs[1]),
      link.recvUpTo(tag(2), 'f32', 1000),
      link.send(tag(3), new Float32Array(90_000)),
    ];
    const before = heap();
    let sent = 0;
    for (let n = 0; n < FRAMES; n++) {
      const genuine = corpus[(session + n) % corpus.length];
      const bytes = d.below(3) === 0 ? mutate(genuine.bytes, corpus[d.below(corpus.length)].bytes, d) : genuine.bytes;
      sent += bytes.length;
      (genuine.bulk ? bulk : control).ends[0].send(bytes);
    }
    await world.advance(10);
    const held = heap() - before;
    // A frame is copied once more on its way.
    if (held > MB + 2 * sent) throw new Error(`session ${session} took ${held} bytes for ${sent}`);
    if (error) {
      failed++;
      expect(error).toBeInstanceOf(PeerError);
    } else link.leave();
    await Promise.all(
      awaited.map((promise) =>
        (promise as Promise<unknown>).catch((reason: unknown) => expect(reason).toBeInstanceOf(PeerError)),
      ),
    );
    await world.advance(10);
    if (world.pending > 0) throw new Error(`session ${session} left ${world.pending} timers`);
  }
  inputs.set('link', SESSIONS * FRAMES);
  expect(failed / SESSIONS).toBeGreaterThan(0.4);
});

it.each([
  [
    'trusts a length field',
    (bytes: Bytes) => {
      if (bytes.length >= 32)
        new Uint8Array(new DataView(bytes.buffer, bytes.byteOffset).getUint32(28, true) % 2 ** 28);
      decodeFrame(bytes);
    },
    /took \d+ bytes/,
  ],
  [
    'reads beyond the end',
    (bytes: Bytes) => {
      decodeFrame(bytes);
      new DataView(bytes.buffer).getUint32(HEADER_BYTES);
    },
    /RangeError/,
  ],
  [
    'keeps what it has read',
    ((kept: Bytes[]) => (bytes: Bytes) => {
      kept.push(new Uint8Array(bytes.length + 30_000));
      decodeFrame(bytes);
    })([]),
    /took \d+ bytes/,
  ],
])('a decoder that %s is found within 20,000 inputs (seeded defect)', (_, decoder, found) => {
  expect(() => fuzz('defect', 1, 20_000, frames(), decoder)).toThrow(found);
});

/** What one side of a short session puts on its wires. */
async function capture(): Promise<{ bytes: Bytes; bulk: boolean }[]> {
  const world = new VirtualWorld();
  const taken: { bytes: Bytes; bulk: boolean }[] = [];
  const [control, bulk] = [loopbackPair(), loopbackPair()];
  const listen = (pair: typeof control, isBulk: boolean) =>
    tapped(pair.ends[0], (message, pass) => {
      taken.push({ bytes: message.slice(), bulk: isBulk });
      pass(message);
    });
  const tag = (seq: number): Tag => ({ group: 1, seq, chunk: 0, kind: 'gradient' });
  const a = createLink({
    lanes: { control: listen(control, false), bulk: listen(bulk, true) },
    self: 0,
    peer: 1,
    run: 7,
    view: 3,
    world,
  });
  const b = createLink({
    lanes: { control: control.ends[1], bulk: bulk.ends[1] },
    self: 1,
    peer: 0,
    run: 7,
    view: 3,
    world,
  });
  const back = new Float32Array(90_000);
  const all = [
    a.send(tag(0), new Float32Array(3)),
    a.send(tag(1), new Float32Array(200_000)),
    a.send(tag(2), new Float32Array(5)),
    a.recv(tag(3), back),
    b.send(tag(3), back),
    b.recv(tag(0), new Float32Array(3)),
    b.recv(tag(1), new Float32Array(200_000)),
    b.recvUpTo(tag(2), 'f32', 10),
  ];
  await world.advance(2500);
  await Promise.all(all);
  a.leave();
  await world.advance(10);
  // The long frames alone would fill the time of the test.
  return taken
    .filter(({ bytes }) => bytes.length < 1000 || bytes.length > 60_000)
    .filter(({ bytes }, i) => bytes.length < 1000 || i % 5 === 0);
}

afterAll(() => {
  inputs.delete('defect');
  // frame, seven payloads, three of rooms, four wire formats, links.
  expect([...inputs.keys()].length).toBe(16);
  for (const [name, count] of inputs) expect(count, name).toBeGreaterThanOrEqual(MANY);
});
