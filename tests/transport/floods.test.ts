// What serves nothing, sent without end: each kind is borne in small numbers and ends the link in large ones, by name.
// Nothing that a peer sends is kept without bound, before somebody listens and on the way through a page that relays.

import { describe, expect, it } from 'vitest';
import { PeerError } from '../../src/base/errors.ts';
import { VirtualWorld } from '../../src/base/world.ts';
import { MAX_WAITING_BYTES, MAX_WAITING_MESSAGES } from '../../src/transport/base-wire.ts';
import {
  encodeAbort,
  encodeCredit,
  encodeHeartbeat,
  encodeHello,
  encodeProbed,
  encodeTuned,
} from '../../src/transport/control.ts';
import { encodeFrame, linkFrame } from '../../src/transport/frame.ts';
import type { FrameType } from '../../src/transport/frame.ts';
import type { LinkOptions } from '../../src/transport/link.ts';
import { loopbackPair } from '../../src/transport/loopback.ts';
import {
  MAX_RELAYED_BYTES,
  MAX_RELAYED_MESSAGES,
  messagePortWire,
  relayWire,
} from '../../src/transport/message-port.ts';
import type { DataChannel, Port } from '../../src/transport/pipes/pipes.ts';
import { STALE, Strikes, heartbeatLimit } from '../../src/transport/measure/strikes.ts';
import type { Link, Wire } from '../../src/transport/transport.ts';
import { channelWire } from '../../src/transport/webrtc.ts';
import { RUN, VIEW, link, tag } from '../contracts/transport-contract.ts';

type Bytes = Uint8Array<ArrayBuffer>;
/** Ranks of the transport contract. */
const [VICTIM, FLOODER] = [9, 4];

const frame = (type: FrameType, payload?: Bytes, run = RUN, view = VIEW): Bytes =>
  encodeFrame(linkFrame(type, run, view, payload));
const beat = (waitsFor?: number): Bytes => encodeHeartbeat({ sentAt: 0, echo: NaN, heldMs: 0, waitsFor });
const HELLO = frame('hello', encodeHello({ sender: FLOODER, receiver: VICTIM, heard: true, lanes: 1, tuneMs: 0 }));

interface Victim {
  readonly world: VirtualWorld;
  readonly wire: Wire;
  readonly link: Link;
  failure(): PeerError | undefined;
}

/** A link whose peer is a script: `wire` is the peer's end of all its lanes. */
async function victim(options: Partial<LinkOptions> = {}): Promise<Victim> {
  const world = new VirtualWorld();
  const {
    ends: [wire, own],
  } = loopbackPair({ world });
  const made = link({ control: own, bulk: own }, 'b', options, world);
  let failure: PeerError | undefined;
  void made.failed.then((error) => {
    failure = error;
  });
  wire.onMessage = () => undefined;
  wire.send(HELLO);
  await world.advance(1);
  return { world, wire, link: made, failure: () => failure };
}

/**
 * Sends `message` so often each millisecond, with a sign of life a second, until the link has failed or `ms` are over;
 * the milliseconds that it took.
 */
async function flood(
  { world, wire, failure }: Victim,
  messages: readonly Bytes[],
  perMs: number,
  ms: number,
): Promise<number> {
  for (let at = 0; at < ms; at++) {
    if (failure()) return at;
    if (at % 1000 === 0) wire.send(frame('heartbeat', beat()));
    for (let i = 0; i < perMs; i++) wire.send(messages[i % messages.length]!);
    await world.advance(1);
  }
  return ms;
}

function expectCorrupt(failure: PeerError | undefined, words: RegExp): void {
  expect(failure?.message).toMatch(words);
  expect([failure!.culprit, failure!.evidence]).toEqual([FLOODER, 'corrupt']);
}

const data = (view: number): Bytes =>
  encodeFrame({ ...linkFrame('data', RUN, view, new Uint8Array(64)), ...tag(1), dtype: 'f32', total: 64 });
const announced = (view: number): Bytes =>
  encodeFrame({ ...linkFrame('announce', RUN, view), ...tag(1), dtype: 'f32', total: 1 << 20 });
const FLOODS: readonly (readonly [what: string, messages: readonly Bytes[], words: RegExp])[] = [
  [
    'heartbeats of an old view',
    [frame('heartbeat', beat(), RUN, VIEW - 1)],
    /^rank 4 corrupt: it floods the link with frames of another run or view: more than 4096 at once/,
  ],
  ['data of a view to come', [data(VIEW + 1)], /another run or view/],
  [
    'frames of all kinds of another run',
    [
      frame('hello', encodeHello({ sender: 4, receiver: 9, heard: false, lanes: 1, tuneMs: 0 }), RUN + 1),
      frame('leave', undefined, RUN + 1),
      announced(0),
    ],
    /another run or view/,
  ],
  ['heartbeats', [frame('heartbeat', beat())], /floods the link with heartbeats/],
  ['answers to probes', [frame('probed', encodeProbed(3))], /answers to probes that nobody sent/],
  [
    'results of a tuner',
    [frame('tuned', encodeTuned({ frameBytes: 0, windowBytes: 2 ** 32 - 1, bytesPerMs: NaN }))],
    /results of a tuner/,
  ],
  [
    'credits',
    [frame('credit', encodeCredit({ bytes: 0, messages: 0 }))],
    /it says that it consumed 0 bytes in 0 messages/,
  ],
  ['hellos', [HELLO], /said hello more than 64 times/],
  [
    'empty data',
    Array.from({ length: 20_000 }, (_, i) =>
      encodeFrame({ ...linkFrame('data', RUN, VIEW), ...tag(i), dtype: 'f32', total: 0 }),
    ),
    /out of order|at most \d+ bytes and 8192 frames are kept/,
  ],
  ['empty messages', [new Uint8Array(0)], /frame: expected 36 to 262144 bytes, got 0/],
  ['frames of no kind that there is', [frame('heartbeat', beat()).fill(200, 3, 4)], /frame: unknown frame type 200/],
];

describe('a link that is flooded', () => {
  it.each(FLOODS)('ends within a second for 20,000 a second of %s', async (_what, messages, words) => {
    const one = await victim();
    expect(await flood(one, messages, 20, 2000)).toBeLessThan(1000);
    expectCorrupt(one.failure(), words);
    // The peer hears why, and no timer is left.
    expect(one.world.pending).toBe(0);
  });

  it('says so also of goodbyes on one lane of two', async () => {
    const world = new VirtualWorld();
    const [bulk, latency, control] = [loopbackPair({ world }), loopbackPair({ world }), loopbackPair({ world })];
    const made = link({ control: control.ends[1], bulk: bulk.ends[1], latency: latency.ends[1] }, 'b', {}, world);
    for (let i = 0; i < 100; i++) bulk.ends[0].send(frame('leave'));
    await world.advance(10);
    expectCorrupt(await made.failed, /goodbyes that it has said/);
  });

  it('bears what is late after a change of view, and what waited while this tab slept', async () => {
    const one = await victim({ silentMs: 60_000 });
    for (let i = 0; i < STALE.most; i++) one.wire.send(data(VIEW - 1));
    await one.world.advance(1);
    expect([one.failure(), one.link.stats.dropped]).toEqual([undefined, STALE.most]);
    for (let i = 0; i < 120; i++) one.wire.send(frame('heartbeat', beat()));
    await one.world.advance(1);
    expect(await flood(one, [], 0, 200_000)).toBe(200_000);
    // All forgiven by now: as much again.
    for (let i = 0; i < 1900; i++) one.wire.send(data(VIEW - 1));
    await one.world.advance(1);
    expect(one.failure()).toBeUndefined();
    one.link.leave();
  });

  it('takes frames of an old view for no sign of life', async () => {
    const { world, wire, failure } = await victim({ silentMs: 6000 });
    for (let second = 0; second < 10 && !failure(); second++) {
      wire.send(frame('heartbeat', beat(), RUN, VIEW - 1));
      await world.advance(1000);
    }
    expect(failure()?.message).toMatch(/^rank 4 silent: nothing came from it for \d+ ms/);
  });

  it('believes in no rank that there is not', async () => {
    for (const [message, words] of [
      [frame('heartbeat', beat(12)), /it waits for rank 12, of 12 ranks/],
      [
        frame('abort', encodeAbort(new PeerError(4_000_000, 'silent', 'nothing came'))),
        /it ends the run for the fault of rank 4000000, of 12 ranks/,
      ],
    ] as const) {
      const one = await victim({ worldSize: 12 });
      one.wire.send(message);
      await one.world.advance(1);
      expectCorrupt(one.failure(), words);
    }
    const sound = await victim({ worldSize: 12 });
    sound.wire.send(frame('heartbeat', beat(11)));
    await sound.world.advance(1);
    expect([sound.failure(), sound.link.stats.peerWaitsFor]).toEqual([undefined, 11]);
    sound.link.leave();
  });
});

it('strikes leak with time, and a clock that goes back forgives nothing', () => {
  const strikes = new Strikes({ most: 3, perSecond: 2 });
  expect([0, 0, 0, 500, 500, 500].map((at) => strikes.add(at))).toEqual([false, false, false, false, true, true]);
  expect([strikes.add(-1e9), strikes.add(4000), strikes.add(4000)]).toEqual([true, false, false]);
  // Of heartbeats that are rare and frequent: one silence at once is borne.
  for (const [heartbeatMs, silentMs] of [
    [1000, 6000],
    [10, 60],
    [1000, 60_000],
    [1000, 1e12],
  ] as const) {
    const { most, perSecond } = heartbeatLimit(heartbeatMs, silentMs);
    expect(most).toBeGreaterThanOrEqual(Math.min(silentMs, 3_600_000) / heartbeatMs);
    expect(perSecond).toBeGreaterThanOrEqual(2000 / heartbeatMs);
    expect(most + perSecond).toBeLessThan(20_000);
  }
});

/** A channel or port whose events a script makes. */
function scripted(): EventTarget & DataChannel & Port & { readonly posted: unknown[]; say(data: unknown): void } {
  const target = new EventTarget();
  const posted: unknown[] = [];
  return Object.assign(target, {
    posted,
    binaryType: '',
    bufferedAmountLowThreshold: 0,
    bufferedAmount: 0,
    readyState: 'open',
    send: () => undefined,
    close: () => undefined,
    start: () => undefined,
    postMessage: (message: unknown) => {
      posted.push(message);
    },
    say: (message: unknown) => {
      target.dispatchEvent(Object.assign(new Event('message'), { data: message }));
    },
  }) as unknown as ReturnType<typeof scripted>;
}

describe('a wire', () => {
  it('keeps so much before anybody listens, and no more', async () => {
    for (const [count, bytes] of [
      [MAX_WAITING_MESSAGES, 100],
      [MAX_WAITING_BYTES / 2 ** 16, 2 ** 16],
    ] as const) {
      const channel = scripted();
      const wire = channelWire(channel);
      for (let i = 0; i < count; i++) channel.say(new ArrayBuffer(bytes));
      const heard: number[] = [];
      channel.say(new ArrayBuffer(bytes));
      wire.onMessage = ({ length }) => heard.push(length);
      const end = await new Promise((resolve) => {
        wire.onClose = (reason, broken) => resolve([reason, broken]);
      });
      expect(end).toEqual([
        `more than ${MAX_WAITING_MESSAGES} messages or ${MAX_WAITING_BYTES} bytes came before anybody listened`,
        true,
      ]);
      expect(heard).toHaveLength(count);
    }
  });

  it.each<[string, (pipe: ReturnType<typeof scripted>) => Wire, unknown, string]>([
    ['text on a channel', (pipe) => channelWire(pipe), 'hello', 'it sent text on a binary channel'],
    ['a word that no port knows', (pipe) => messagePortWire(pipe), { odd: 1 }, 'it broke the protocol of the port'],
    ['an acknowledgement of nothing', (pipe) => messagePortWire(pipe), 0, 'it broke the protocol of the port'],
    ['a count that is none', (pipe) => messagePortWire(pipe), NaN, 'it broke the protocol of the port'],
    ['what its page has found', (pipe) => messagePortWire(pipe), [`${'x'.repeat(500)}`], 'x'.repeat(300)],
  ])('calls %s a breach, and the link names the peer', async (_what, make, said, words) => {
    const world = new VirtualWorld();
    const pipe = scripted();
    const wire = make(pipe);
    const made = link({ control: loopbackPair({ world }).ends[0], bulk: wire }, 'b', {}, world);
    pipe.say(said);
    await world.advance(1);
    const error = await made.failed;
    expect(error.message).toBe(`rank 4 corrupt: ${words}`);
  });

  it('hears of a closed port as of a peer that is gone', async () => {
    const pipe = scripted();
    const wire = messagePortWire(pipe);
    const end = new Promise((resolve) => {
      wire.onClose = (reason, broken) => resolve([reason, broken]);
    });
    pipe.say('the other end closed the port');
    expect(await end).toEqual(['the other end closed the port', false]);
  });
});

describe('a page that relays', () => {
  /** Says what the worker hears when a peer has sent `count` messages, of which it acknowledges so many. */
  function relayed(
    count: number,
    bytes: number,
    taken: number,
  ): { readonly posted: unknown[]; readonly closed: boolean } {
    const [channel, port] = [scripted(), scripted()];
    let closed = false;
    channel.close = () => {
      closed = true;
    };
    relayWire(channelWire(channel), port as unknown as MessagePort);
    for (let i = 0; i < count; i++) {
      channel.say(new ArrayBuffer(bytes));
      if (i < taken) port.say(bytes);
    }
    return { posted: port.posted, closed };
  }

  it('cuts off a peer that sends more than the worker takes, and passes the reason on', async () => {
    const block = 2 ** 20;
    for (const [count, bytes] of [
      [MAX_RELAYED_BYTES / block + 1, block],
      [MAX_RELAYED_MESSAGES + 1, 0],
    ] as const) {
      const { posted, closed } = await settled(() => relayed(count, bytes, 0));
      expect(closed).toBe(true);
      expect(posted.at(-1)).toEqual([
        expect.stringMatching(/^it sent \d+ bytes in \d+ messages that this tab could not take yet/),
      ]);
    }
  });

  it('bears any number that the worker takes', async () => {
    const { posted, closed } = await settled(() => relayed(200, 2 ** 20, 200));
    expect([closed, posted.length]).toEqual([false, 200]);
  });

  /** A wire hands over what came before its listener in a microtask. */
  async function settled<T>(work: () => T): Promise<T> {
    const result = work();
    for (let i = 0; i < 5; i++) await Promise.resolve();
    return result;
  }
});
