// The link tuner under a virtual clock: links where the default is best, where a larger window wins, where the time is
// up before anything is known, and peers that do not keep to what was agreed.

import { describe, expect, it } from 'vitest';
import { VirtualWorld } from '../../src/base/world.ts';
import { LOW_WATER_BYTES } from '../../src/transport/base-wire.ts';
import { writeProbe } from '../../src/transport/control.ts';
import { HEADER_BYTES, MAX_FRAME_BYTES, encodeFrame, linkFrame } from '../../src/transport/frame.ts';
import { loopbackPair } from '../../src/transport/loopback.ts';
import type { LoopbackOptions } from '../../src/transport/loopback.ts';
import type { Link, Wire } from '../../src/transport/transport.ts';
import {
  BURST_BYTES,
  CHALLENGERS,
  CLEARLY,
  DEFAULT_FRAMING,
  MAX_BURSTS,
  MAX_PROBE_BYTES,
  ROUNDS,
  affordable,
  chooseCandidate,
  minimumWindow,
} from '../../src/transport/tune-link.ts';
import { RUN, VIEW, firstDifference, link, ramp, tag, tapped } from '../contracts/transport-contract.ts';

const KIB = 1024;

/**
 * A wire whose bytes count as buffered until the other end has acknowledged them, as a port's do: its rate is window /
 * round trip, up to the bandwidth.
 */
function acknowledged(wire: Wire, world: VirtualWorld, ackMs: number, bytesPerMs: () => number): Wire {
  let buffered = 0;
  let busyUntil = 0;
  const slow: Wire = tapped(wire, (message, pass) => {
    buffered += message.length;
    busyUntil = Math.max(world.now(), busyUntil) + message.length / bytesPerMs();
    pass(message);
    world.timer(busyUntil - world.now() + ackMs, () => {
      const before = buffered;
      buffered -= message.length;
      if (before >= LOW_WATER_BYTES && buffered < LOW_WATER_BYTES) wire.onDrain?.();
    });
  });
  return Object.defineProperty(slow, 'bufferedAmount', { get: () => buffered });
}

interface Pair {
  readonly world: VirtualWorld;
  readonly a: Link;
  readonly b: Link;
  readonly ends: { readonly control: Wire; readonly bulk: Wire };
}

function tunedPair(
  options: Omit<LoopbackOptions, 'world'>,
  tuneMs: number,
  wrap: (wire: Wire, world: VirtualWorld) => Wire = (wire) => wire,
  /** What one end says on its control lane takes so much longer. */
  lateMs = 0,
): Pair {
  const world = new VirtualWorld();
  const [control, bulk, latency] = [{ delayMs: options.delayMs ?? 0 }, options, { delayMs: options.delayMs ?? 0 }].map(
    (each) => loopbackPair({ world, ...each }),
  );
  const lanes = (end: 0 | 1) => ({
    control:
      end === 0 && lateMs > 0
        ? tapped(control!.ends[0], (message, pass) => world.timer(lateMs, () => pass(message)))
        : control!.ends[end],
    bulk: wrap(bulk!.ends[end], world),
    latency: latency!.ends[end],
  });
  return {
    world,
    a: link(lanes(0), 'a', { tuneMs }, world),
    b: link(lanes(1), 'b', { tuneMs }, world),
    ends: { control: control!.ends[0], bulk: bulk!.ends[0] },
  };
}

/** Sends a message each way once tuned; resolves with the virtual time at which both had arrived. */
async function exchange({ world, a, b }: Pair, count = 300_000, limitMs = 20_000): Promise<number> {
  const data = ramp(count);
  const [outA, outB] = [new Float32Array(count), new Float32Array(count)];
  let doneMs = NaN;
  void Promise.all([a.recv(tag(0), outA), b.recv(tag(0), outB), a.send(tag(0), data), b.send(tag(0), data)]).then(
    () => {
      doneMs = world.now();
    },
  );
  for (let ms = 0; ms < limitMs && Number.isNaN(doneMs); ms += 20) await world.advance(20);
  expect([firstDifference(outA, data), firstDifference(outB, data)]).toEqual([-1, -1]);
  return doneMs;
}

function finish({ world, a }: Pair): Promise<void> {
  a.leave();
  return world.advance(5000).then(() => {
    expect(world.pending).toBe(0);
  });
}

describe('the framing', () => {
  const luck = (choose: typeof chooseCandidate): void => {
    expect(
      choose([
        [20, 60, 20],
        [20, 19, 20],
        [20, 21, 20],
      ]),
    ).toBe(0);
    expect(
      choose([
        [20, 25, 24],
        [10, 13, 12],
        [30, 36, 40],
      ]),
    ).toBe(1);
  };
  it('wants a clear gain in every round, and takes the surest', () => {
    luck(chooseCandidate);
    expect(
      chooseCandidate([
        [20, 21, 22],
        [20, 21, 22],
        [20, 21, 22],
      ]),
    ).toBe(0);
    expect(
      chooseCandidate([
        [20, 30, 40],
        [20, 30, 40],
        [20, 30, 24],
      ]),
    ).toBe(1);
    expect(chooseCandidate([])).toBe(0);
  });
  it('catches a tuner that trusts one lucky probe (seeded defect: the best of all rounds counts)', () => {
    const trusting = (rounds: readonly (readonly number[])[]): number => {
      const best = rounds[0]!.map((_, i) => Math.max(...rounds.map((rates) => rates[i]! / rates[0]!)));
      return best.reduce((most, gain, i) => (gain >= CLEARLY && gain > best[most]! ? i : most), 0);
    };
    expect(() => luck(trusting)).toThrow();
  });
  it('measures only as many challengers as the time allows', () => {
    expect(
      [
        [0, 10],
        [49, 10],
        [50, 10],
        [80, 10],
        [110, 10],
        [1e6, 10],
      ].map(([left, burst]) => affordable(left!, burst!)),
    ).toEqual([0, 0, 1, 2, 3, 3]);
  });
  it('knows no candidate that cannot drain (a low-water mark above the window) or that no peer may send', () => {
    const drains = ({ frameBytes, windowBytes }: typeof DEFAULT_FRAMING): boolean =>
      windowBytes >= minimumWindow(frameBytes) &&
      frameBytes <= MAX_FRAME_BYTES &&
      (frameBytes - HEADER_BYTES) % 4 === 0;
    for (const candidate of [DEFAULT_FRAMING, ...CHALLENGERS])
      expect(drains(candidate), JSON.stringify(candidate)).toBe(true);
    expect(drains({ frameBytes: 64 * KIB, windowBytes: 64 * KIB })).toBe(false); // the seeded defect: it waits for an event that has already been
  });
});

describe('a link that tunes itself', () => {
  it('keeps the default where no challenger is faster, and knows the rate of both directions', async () => {
    const pair = tunedPair({ delayMs: 1, bytesPerMs: 400_000 }, 2000);
    await exchange(pair);
    for (const side of [pair.a, pair.b]) {
      const { frameBytes, windowBytes, sending, receiving } = side.report();
      expect({ frameBytes, windowBytes }).toEqual(DEFAULT_FRAMING);
      for (const { probed } of [sending, receiving]) expect(probed).toBeGreaterThan(200);
      for (const { probed } of [sending, receiving]) expect(probed).toBeLessThan(401);
    }
    await finish(pair);
  });

  it('takes a larger window where that is faster, and then sends with it', async () => {
    // 256 KiB per round trip of 4 ms are 64 MB/s; 512 KiB give twice that.
    const pair = tunedPair({}, 4000, (wire, world) => acknowledged(wire, world, 4, () => 500_000));
    await exchange(pair);
    const { windowBytes, sending } = pair.a.report();
    expect(windowBytes).toBe(512 * KIB);
    expect(sending.probed).toBeGreaterThan(90);
    expect(pair.b.report().receiving.probed).toBe(sending.probed);
    await finish(pair);
  });

  it('does not change for one lucky burst', async () => {
    // As above, but after 100 ms, in the middle of the first round, the bandwidth falls so low that windows make no
    // difference.
    const pair = tunedPair({}, 20_000, (wire, world) =>
      acknowledged(wire, world, 4, () => (world.now() < 100 ? 500_000 : 6000)),
    );
    await exchange(pair, 300_000, 30_000);
    expect([pair.a.report().windowBytes, pair.b.report().windowBytes]).toEqual([256 * KIB, 256 * KIB]);
    expect(pair.a.report().sending.probed).toBeGreaterThan(5); // the median of the rounds, which took their time
    await finish(pair);
  });

  it('ends with the time on a slow link, keeps the default, and still says how slow it is', async () => {
    const pair = tunedPair({ delayMs: 20, bytesPerMs: 5000 }, 300);
    let tiny = NaN;
    void pair.b.recv(tag(9), new Float32Array(4)).then(() => {
      tiny = pair.world.now();
    });
    void pair.a.send(tag(9), ramp(4));
    // 1.2 MB each way take 240 ms; the tuner has taken 150 ms for each direction, and left at most a window in the
    // queue.
    const doneMs = await exchange(pair);
    expect(tiny).toBeLessThan(100); // the latency lane does not wait for the tuner
    expect(doneMs).toBeGreaterThan(240 + 300);
    expect(doneMs).toBeLessThan(240 + 300 + 2 * 53 + 200);
    const { frameBytes, windowBytes, sending } = pair.a.report();
    expect({ frameBytes, windowBytes }).toEqual(DEFAULT_FRAMING);
    expect(sending.probed).toBeGreaterThan(2);
    expect(sending.probed).toBeLessThan(5.1);
    await finish(pair);
    const slower = tunedPair({ delayMs: 20, bytesPerMs: 500 }, 300);
    await exchange(slower, 10_000);
    expect(slower.a.report().sending.probed).toBe(NaN); // not even the warm-up came through: no figure is better than a wrong one
    await finish(slower);
  });

  it('is off unless both ends allow it', async () => {
    for (const [ours, theirs] of [
      [0, 500],
      [500, 0],
    ] as const) {
      const world = new VirtualWorld();
      const [control, bulk] = [loopbackPair(), loopbackPair()];
      let probes = 0;
      const counted = tapped(bulk.ends[0], (message, pass) => {
        probes++;
        pass(message);
      });
      const a = link({ control: control.ends[0], bulk: counted }, 'a', { tuneMs: ours }, world);
      const b = link({ control: control.ends[1], bulk: bulk.ends[1] }, 'b', { tuneMs: theirs }, world);
      await world.advance(1000);
      expect(probes).toBe(0);
      expect(a.report().sending.probed).toBe(NaN);
      await Promise.all([a.send(tag(0), ramp(3)), b.recv(tag(0), new Float32Array(3))]);
      a.leave();
    }
  });

  it('goes on without a peer that never says that it is done', async () => {
    const world = new VirtualWorld();
    const [control, bulk] = [loopbackPair(), loopbackPair()];
    const b = link({ control: control.ends[1], bulk: bulk.ends[1] }, 'b', { tuneMs: 300 }, world);
    const mute = tapped(control.ends[0], (message, pass) => {
      if (message[3] !== 10) pass(message);
    }); // 10: tuned
    const a = link({ control: mute, bulk: bulk.ends[0] }, 'a', { tuneMs: 300 }, world);
    const out = new Float32Array(9);
    let got = false;
    void b.send(tag(0), ramp(9));
    void a.recv(tag(0), out).then(() => {
      got = true;
    });
    await world.advance(500);
    expect(got).toBe(false);
    await world.advance(2000);
    expect(got).toBe(true);
    a.leave();
    await world.advance(10);
    expect(world.pending).toBe(0);
  });

  it('a probe that overtakes the hello of its sender is none of these', async () => {
    const pair = tunedPair({ delayMs: 1 }, 300, undefined, 40);
    expect(await exchange(pair)).toBeLessThan(20_000);
  });

  it('strikes a peer that probes beyond what was agreed, in bytes or in bursts, or without agreement', async () => {
    const flood = async (tuneMs: number, frames: number, bytes: number, left: number): Promise<string> => {
      const pair = tunedPair({}, tuneMs);
      await pair.world.advance(tuneMs > 0 ? 6000 : 10); // its own probing is over
      const payload = new Uint8Array(bytes);
      writeProbe(payload, { burst: 1, left });
      for (let i = 0; i < frames; i++) pair.ends.bulk.send(encodeFrame(linkFrame('probe', RUN, VIEW, payload)));
      await pair.world.advance(10);
      const error = await Promise.race([pair.b.failed, Promise.resolve(undefined)]);
      await pair.world.advance(10);
      return error?.message ?? 'no failure';
    };
    const whole = MAX_FRAME_BYTES - HEADER_BYTES;
    expect(await flood(1000, Math.ceil(MAX_PROBE_BYTES / whole), whole, 4)).toMatch(
      /^rank 4 corrupt: it probes the link with \d+ bytes in \d+ bursts; agreed were/,
    );
    expect(await flood(1000, MAX_BURSTS + 1, 8, 0)).toMatch(/bursts; agreed were/);
    expect(await flood(0, 1, 8, 4)).toMatch(/agreed were 0 in 0/);
    expect(MAX_PROBE_BYTES).toBeLessThan((1 + ROUNDS * 4) * BURST_BYTES + 1);
  });
});
