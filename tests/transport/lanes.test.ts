// The lanes of a link: small messages never behind bulk, a leave only behind all data, lent buffers given away, and
// both ends with the same lanes.

import { describe, expect, it } from 'vitest';
import { VirtualWorld, realWorld } from '../../src/base/world.ts';
import { loopbackPair } from '../../src/transport/loopback.ts';
import { messagePortWire } from '../../src/transport/message-port.ts';
import { TINY_BYTES } from '../../src/transport/outbox.ts';
import { RateMeter } from '../../src/transport/measure/rate-meter.ts';
import type { Lanes, Wire } from '../../src/transport/transport.ts';
import { firstDifference, link, ramp, rejection, tag, tapped } from '../contracts/transport-contract.ts';

const LANE_NAMES = ['control', 'bulk', 'latency'] as const;
type Ends = Record<(typeof LANE_NAMES)[number], readonly [Wire, Wire]>;

function lanesOf(ends: Ends, end: 0 | 1): Required<Lanes> {
  return { control: ends.control[end], bulk: ends.bulk[end], latency: ends.latency[end] };
}

/** Lanes with a delay of their own, over a slow bulk lane. */
function delayedLanes(
  world: VirtualWorld,
  delays: { readonly control?: number; readonly bulk?: number; readonly latency?: number } = {},
  bytesPerMs = 1000,
): Ends {
  return Object.fromEntries(
    LANE_NAMES.map((lane) => [
      lane,
      loopbackPair({ world, delayMs: delays[lane] ?? 1, ...(lane === 'bulk' ? { bytesPerMs } : {}) }).ends,
    ]),
  ) as unknown as Ends;
}

/** When a message of 16 KiB that was sent behind 1 MB of bulk arrives. */
async function latencyBehindBulk(lanes: (ends: Ends, end: 0 | 1) => Lanes): Promise<number> {
  const world = new VirtualWorld();
  const ends = delayedLanes(world);
  const [a, b] = [link(lanes(ends, 0), 'a', {}, world), link(lanes(ends, 1), 'b', {}, world)];
  const [large, small] = [new Float32Array(250_000), new Float32Array(TINY_BYTES / 4)];
  let arrivedMs = NaN;
  void b.recv(tag(0), large);
  await world.advance(10);
  const sentMs = world.now();
  void a.send(tag(0), ramp(250_000));
  void a.send(tag(1), ramp(small.length));
  void b.recv(tag(1), small).then(() => {
    arrivedMs = world.now();
  });
  await world.advance(3000);
  expect([firstDifference(large, ramp(250_000)), firstDifference(small, ramp(small.length))]).toEqual([-1, -1]);
  a.leave();
  await world.advance(100);
  expect(world.pending).toBe(0);
  return arrivedMs - sentMs;
}

function checkLatency(ms: number): void {
  expect(ms).toBeLessThan(10);
}

describe('the latency lane', () => {
  it('carries small messages past the bulk that was sent before them', async () => {
    checkLatency(await latencyBehindBulk(lanesOf));
  });

  it('catches small data that waits behind bulk (seeded defect: no lane of its own)', async () => {
    const ms = await latencyBehindBulk((ends, end) => ({ control: ends.control[end], bulk: ends.bulk[end] }));
    expect(() => checkLatency(ms)).toThrow();
    expect(ms).toBeLessThan(350); // yet only behind one window, not behind the whole megabyte
  });

  it('is matched by tag like the others, and bounded by its own window', async () => {
    const world = new VirtualWorld();
    const ends = delayedLanes(world);
    let most = 0;
    const own = lanesOf(ends, 0);
    const latency = tapped(own.latency, (message, pass) => {
      pass(message);
      most = Math.max(most, own.latency.bufferedAmount);
    });
    const [a, b] = [link({ ...own, latency }, 'a', {}, world), link(lanesOf(ends, 1), 'b', {}, world)];
    const outs = Array.from({ length: 60 }, () => new Float32Array(TINY_BYTES / 4));
    const all = outs.flatMap((out, i) => [b.recv(tag(59 - i), outs[59 - i]!), a.send(tag(i), ramp(out.length, i))]);
    await world.advance(1000);
    await Promise.all(all);
    for (const [i, out] of outs.entries()) expect(firstDifference(out, ramp(out.length, i))).toBe(-1);
    expect(most).toBeLessThanOrEqual(128 * 1024);
    a.leave();
  });

  it('fails a pair of links whose ends have different lanes', async () => {
    const pairs = Object.fromEntries(LANE_NAMES.map((lane) => [lane, loopbackPair().ends])) as unknown as Ends;
    const [a, b] = [link(lanesOf(pairs, 0), 'a'), link({ control: pairs.control[1], bulk: pairs.bulk[1] }, 'b')];
    const messages = [(await a.failed).message, (await b.failed).message];
    expect(
      messages.some((message) =>
        /it has [12] lanes for data, this tab [12]; both ends must open the same channels/.test(message),
      ),
      messages.join(' | '),
    ).toBe(true);
  });
});

describe('a leave', () => {
  /** One message by each data lane, then a leave; whichever lane is slower, both messages must arrive. */
  async function checkLeave(
    delays: { bulk?: number; latency?: number },
    wrap: (wire: Wire, lane: 'bulk' | 'latency') => Wire = (wire) => wire,
  ): Promise<void> {
    const world = new VirtualWorld();
    const ends = delayedLanes(world, delays, 1e6);
    const own = lanesOf(ends, 1);
    const [a, b] = [
      link(lanesOf(ends, 0), 'a', {}, world),
      link(
        { control: own.control, bulk: wrap(own.bulk, 'bulk'), latency: wrap(own.latency, 'latency') },
        'b',
        {},
        world,
      ),
    ];
    const outs = [new Float32Array(30_000), new Float32Array(5)];
    const ended: string[] = [];
    outs.forEach((out, i) => {
      b.recv(tag(i), out).then(
        () => ended.push(`got ${i}`),
        (error: Error) => ended.push(error.message),
      );
    });
    await world.advance(1000); // both have said hello
    for (const [i, out] of outs.entries()) void a.send(tag(i), ramp(out.length));
    await Promise.resolve();
    a.leave();
    void b.failed.then((error) => ended.push(error.evidence));
    await world.advance(1000);
    expect(ended.at(-1)).toBe('left');
    expect(ended.slice(0, 2).sort()).toEqual(['got 0', 'got 1']);
    expect(world.pending).toBe(0);
  }

  it('counts when all lanes are drained, whichever is slower', async () => {
    await checkLeave({ bulk: 200 });
    await checkLeave({ latency: 200 });
  });

  it('catches a leave that counts before the latency lane is drained (seeded defect: bulk alone decides)', async () => {
    // The slow lane's leave is said on the quick one: as if that had spoken for both.
    const hasty = (wire: Wire, lane: 'bulk' | 'latency'): Wire => {
      if (lane === 'latency') {
        early = wire;
        return wire;
      }
      return Object.defineProperty(
        tapped(wire, (message, pass) => pass(message)),
        'onMessage',
        {
          set(handler: Wire['onMessage']) {
            wire.onMessage =
              handler &&
              ((message) => {
                handler(message);
                if (message[3] === 6) early?.onMessage?.(message);
              });
          },
        },
      );
    };
    let early: Wire | undefined;
    await expect(checkLeave({ latency: 200 }, hasty)).rejects.toThrow();
  });
});

describe('a lent buffer', () => {
  it('is given away by a port: the frame is not copied, and one that was not lent is', async () => {
    const { port1, port2 } = new MessageChannel();
    const [wire, other] = [messagePortWire(port1), messagePortWire(port2)];
    const got: Uint8Array[] = [];
    const all = new Promise<void>((resolve) => {
      other.onMessage = (message) => {
        got.push(message);
        if (got.length === 3) resolve();
      };
    });
    const lent = wire.lend!(8).fill(1);
    wire.send(lent);
    expect(lent.byteLength).toBe(0); // transferred
    const kept = new Uint8Array(8).fill(2);
    wire.send(kept);
    expect(kept.byteLength).toBe(8);
    const stale = wire.lend!(8).fill(3);
    wire.lend!(8);
    wire.send(stale); // no longer the one that was lent: copied
    expect(stale.byteLength).toBe(8);
    await all;
    expect(got.map(([first]) => first)).toEqual([1, 2, 3]);
    wire.close();
  });
});

describe('the report', () => {
  it('tells the route by what is known, and the rates once there were any', async () => {
    const routes = [
      ['host', 'webrtc worker'],
      ['prflx', 'webrtc worker'],
      ['relay', 'webrtc relay'],
      [undefined, 'same browser'],
      [undefined, 'loopback'],
    ] as const;
    for (const [[path, kind], route] of routes.map(
      (given, i) => [given, ['direct', 'direct', 'relayed', 'same browser', 'unknown'][i]] as const,
    )) {
      const [control, bulk] = [loopbackPair(), loopbackPair()];
      const named = Object.defineProperty(
        tapped(bulk.ends[0], (message, pass) => pass(message)),
        'kind',
        { value: kind },
      );
      const own = link({ control: control.ends[0], bulk: named }, 'a', path === undefined ? {} : { path });
      expect(own.report()).toMatchObject({
        peer: 9,
        kind,
        route,
        path: path ?? kind,
        frameBytes: 65536,
        windowBytes: 262144,
        sending: { probed: NaN, observed: NaN },
      });
      own.leave();
    }
    const ends = Object.fromEntries(
      LANE_NAMES.map((lane) => [lane, loopbackPair({ world: realWorld, bytesPerMs: 200_000 }).ends]),
    ) as unknown as Ends;
    const [a, b] = [link(lanesOf(ends, 0), 'a'), link(lanesOf(ends, 1), 'b')];
    const out = new Float32Array(2_000_000);
    await Promise.all([a.send(tag(0), ramp(out.length)), b.recv(tag(0), out)]);
    for (const mbs of [a.report().sending.observed, b.report().receiving.observed]) {
      expect(mbs).toBeGreaterThan(0);
      expect(mbs).toBeLessThan(400);
    }
    a.leave();
    expect((await rejection(b.recv(tag(1), out))).evidence).toBe('left');
  });

  it('measures flow without its pauses', () => {
    const meter = new RateMeter();
    expect(meter.mbs).toBe(NaN);
    for (let ms = 0; ms <= 100; ms++) meter.add(20_000, ms);
    expect(meter.mbs).toBeCloseTo(20, 0);
    for (let ms = 10_000; ms <= 10_100; ms++) meter.add(20_000, ms); // after ten seconds of nothing
    expect(meter.mbs).toBeCloseTo(20, 0);
    for (let n = 0; n < 50; n++) for (let ms = 0; ms <= 100; ms++) meter.add(40_000, 20_000 + 1000 * n + ms);
    expect(meter.mbs).toBeCloseTo(40, 0);
  });
});
