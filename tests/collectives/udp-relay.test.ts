// The bad network of the failure tests does what its rules say: by seed, at the stated rates, and on real sockets.

import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { VirtualWorld } from '../../src/base/world.ts';
import { UdpRelay } from '../support/udp-relay.ts';
import { CLEAR, RelayPath } from '../support/udp-relay-path.ts';
import type { PathRules } from '../support/udp-relay-path.ts';

interface Arrival {
  readonly n: number;
  readonly atMs: number;
}

/** Sends `count` packets of `bytes`, one every `gapMs`, and returns what arrives, in order. */
async function traffic(
  rules: Partial<PathRules>,
  { seed = 1, count = 100, bytes = 1000, gapMs = 1 } = {},
): Promise<{ arrived: Arrival[]; path: RelayPath }> {
  const world = new VirtualWorld();
  const arrived: Arrival[] = [];
  const path = new RelayPath(seed, world, (packet) => {
    arrived.push({ n: new DataView(packet.buffer).getUint32(0), atMs: world.now() });
  });
  path.rules = { ...CLEAR, ...rules };
  for (let n = 0; n < count; n++) {
    const packet = new Uint8Array(bytes);
    new DataView(packet.buffer).setUint32(0, n);
    path.send(packet);
    await world.advance(gapMs);
  }
  await world.advance(10_000);
  return { arrived, path };
}

const numbers = (arrived: readonly Arrival[]): number[] => arrived.map(({ n }) => n);

describe('a path', () => {
  it('passes everything at once and in order when nothing is asked of it', async () => {
    const { arrived } = await traffic({}, { gapMs: 2 });
    expect(arrived).toEqual(Array.from({ length: 100 }, (_, n) => ({ n, atMs: 2 * n })));
  });

  it('has the same fate for the same seed, and another for another', async () => {
    const rules = { drop: 0.2, reorder: 0.1, duplicate: 0.1, delayMs: 5, jitterMs: 3 };
    const [a, b, c] = [await traffic(rules), await traffic(rules), await traffic(rules, { seed: 2 })];
    expect(a.arrived).toEqual(b.arrived);
    expect(numbers(a.arrived)).not.toEqual(numbers(c.arrived));
  });

  it('loses the same packets whatever else the rules say', async () => {
    const lost = async (rules: Partial<PathRules>): Promise<number[]> => {
      const seen = new Set(numbers((await traffic({ drop: 0.1, ...rules })).arrived));
      return Array.from({ length: 100 }, (_, n) => n).filter((n) => !seen.has(n));
    };
    const plain = await lost({});
    expect(plain.length).toBeGreaterThan(3);
    expect(await lost({ delayMs: 30, reorder: 0.5, duplicate: 0.5 })).toEqual(plain);
  });

  it.each([
    ['drop', 'dropped'],
    ['duplicate', 'doubled'],
    ['reorder', 'late'],
  ] as const)('%s strikes at the stated rate', async (rule, count) => {
    const { path } = await traffic({ [rule]: 0.02 }, { count: 20_000, gapMs: 0 });
    // Four standard deviations of 20,000 draws at 2 %.
    expect(Math.abs(path.counts[count] / 20_000 - 0.02)).toBeLessThan(0.004);
  });

  it('delays, keeps the order under jitter, lets packets overtake one that is late', async () => {
    const delayed = await traffic({ delayMs: 20, jitterMs: 10 });
    expect(numbers(delayed.arrived)).toEqual(Array.from({ length: 100 }, (_, n) => n));
    for (const { n, atMs } of delayed.arrived) expect(atMs - n).toBeGreaterThanOrEqual(20);
    for (const { n, atMs } of delayed.arrived) expect(atMs - n).toBeLessThanOrEqual(30);
    const overtaken = numbers((await traffic({ delayMs: 20, reorder: 0.1 })).arrived);
    expect(overtaken).not.toEqual([...overtaken].sort((a, b) => a - b));
    expect([...overtaken].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  });

  it('carries no more than its rate, and drops what would wait too long', async () => {
    const { arrived, path } = await traffic(
      { bytesPerSecond: 100_000, queueMs: Infinity },
      { count: 100, bytes: 1000, gapMs: 1 },
    );
    expect(arrived.length).toBe(100);
    expect(arrived.at(-1)!.atMs).toBeCloseTo(1000, 6);
    expect(path.counts.overflowed).toBe(0);
    const full = await traffic({ bytesPerSecond: 100_000, queueMs: 50 }, { count: 100, bytes: 1000, gapMs: 1 });
    expect(full.path.counts.overflowed).toBeGreaterThan(80);
    for (const { n, atMs } of full.arrived) expect(atMs - n).toBeLessThanOrEqual(61);
  });

  it('passes nothing once cut, also of what is under way, and goes on afterwards', async () => {
    const world = new VirtualWorld();
    let arrived = 0;
    const path = new RelayPath(1, world, () => {
      arrived++;
    });
    path.rules = { ...CLEAR, delayMs: 10 };
    path.send(new Uint8Array(4));
    path.rules = { ...path.rules, cut: true };
    path.send(new Uint8Array(4));
    await world.advance(100);
    expect([arrived, path.counts.cut, world.pending]).toEqual([0, 2, 0]);
    path.rules = CLEAR;
    path.send(new Uint8Array(4));
    expect(arrived).toBe(1);
  });
});

describe('the relay on sockets', () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
  });

  async function end(): Promise<Socket> {
    const socket = createSocket('udp4');
    closing.push(
      () =>
        new Promise<void>((resolve) => {
          socket.close(() => resolve());
        }),
    );
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return socket;
  }

  const candidate = (type: string, protocol = 'udp') => ({
    type: 'candidate' as const,
    candidate: {
      candidate: `candidate:1 1 ${protocol} 2122260223 b1946ac9.local 54321 typ ${type} generation 0`,
      sdpMid: '0',
      sdpMLineIndex: 0,
    },
  });
  const portIn = (relay: UdpRelay, from: number, to: number): number => {
    const told = relay.signal(from, to, candidate('host'));
    if (told?.type !== 'candidate') throw new Error('no candidate');
    return Number(told.candidate.candidate.split(' ')[5]);
  };

  it('stands between two ends, each of which sees the other at one address of the relay', async () => {
    const relay = await UdpRelay.open(2, 7);
    closing.push(() => relay.close());
    const [a, b] = [await end(), await end()];
    const [bSeenByA, aSeenByB] = [portIn(relay, 1, 0), portIn(relay, 0, 1)];
    // Nobody has spoken to the relay as b: the first packet is lost, and tells where a is.
    a.send('knock', bSeenByA, '127.0.0.1');
    while (relay.path(0, 1).counts.sent === 0)
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    const atA = once(a, 'message');
    b.send('hello a', aSeenByB, '127.0.0.1');
    const [toA, fromB] = (await atA) as [Buffer, { port: number }];
    expect([String(toA), fromB.port]).toEqual(['hello a', bSeenByA]);
    const atB = once(b, 'message');
    a.send('hello b', bSeenByA, '127.0.0.1');
    const [toB, fromA] = (await atB) as [Buffer, { port: number }];
    expect([String(toB), fromA.port]).toEqual(['hello b', aSeenByB]);
    expect([relay.path(0, 1).counts.sent, relay.path(1, 0).counts.sent]).toEqual([2, 1]);
  });

  it('hides every other address: candidates in descriptions, second ones, and those of other kinds', async () => {
    const relay = await UdpRelay.open(2, 7);
    closing.push(() => relay.close());
    const sdp = 'v=0\r\na=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\na=mid:0\r\na=end-of-candidates\r\n';
    expect(relay.signal(0, 1, { type: 'offer', sdp })).toEqual({ type: 'offer', sdp: 'v=0\r\na=mid:0\r\n' });
    expect(relay.signal(0, 1, candidate('host', 'tcp'))).toBeUndefined();
    expect(relay.signal(0, 1, candidate('srflx'))).toBeUndefined();
    expect(portIn(relay, 0, 1)).toBeGreaterThan(0);
    expect(relay.signal(0, 1, candidate('host'))).toBeUndefined();
  });

  it('cuts one direction and not the other', async () => {
    const relay = await UdpRelay.open(2, 7);
    closing.push(() => relay.close());
    relay.rule({ cut: true }, (from) => from === 0);
    expect([relay.path(0, 1).rules.cut, relay.path(1, 0).rules.cut]).toEqual([true, false]);
  });
});
