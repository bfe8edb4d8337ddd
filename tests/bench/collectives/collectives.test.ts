// The bench of collectives without a browser: sizes, factors, traffic held to the ledger, counting of wrong elements
// with seeded defects, rows and sentences.

import { afterEach, describe, expect, it } from 'vitest';
import {
  bandwidths,
  COLLECTIVES,
  collectiveNamed,
  collectivesNamed,
  trafficOf,
} from '../../../src/bench/collectives/catalogue.ts';
import { benchCollectives, selectable } from '../../../src/bench/collectives/conductor.ts';
import { countWrong, sumAt, valueAt, valuesOf } from '../../../src/bench/collectives/numbers.ts';
import { RawPipes } from '../../../src/bench/collectives/raw.ts';
import { ALIGN, cellsOf, COLUMNS, summarise } from '../../../src/bench/collectives/collectives-report.ts';
import type { CollectivesMeasured } from '../../../src/bench/collectives/collectives-report.ts';
import { ALL_SIZES, DEFAULT_SIZES, formatSizes, parseSizes, sizeName } from '../../../src/bench/collectives/sizes.ts';
import type { Group } from '../../../src/collectives/group.ts';
import { connectLoopback } from '../../../src/collectives/library/connect.ts';
import { channelPair, fakeRanks } from './fakes.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

describe('sizes', () => {
  it('are read in units, sorted, without repetition', () => {
    expect(parseSizes('1MiB, 4KiB,0,4k,8')).toEqual([0, 8, 4096, MIB]);
    expect(parseSizes('1.5MiB')).toEqual([1.5 * MIB]);
    expect(parseSizes(undefined)).toBe(DEFAULT_SIZES);
    expect(ALL_SIZES.slice(0, 3)).toEqual([0, 4, 8]);
    expect(ALL_SIZES.at(-1)).toBe(64 * MIB);
    for (const list of [DEFAULT_SIZES, ALL_SIZES, [4, 4096, 3 * MIB]])
      expect(parseSizes(formatSizes(list))).toEqual(list);
    expect([0, 4, 4096, MIB, MIB - 4, 1.5 * MIB].map(sizeName)).toEqual([
      '0 B',
      '4 B',
      '4 KiB',
      '1 MiB',
      '1 MiB',
      '1.5 MiB',
    ]);
  });
  it.each(['', 'x', '4GiB', '-4', '3', '65MiB', '4KiB,,1MiB', '1e3'])("'%s' is refused", (text) => {
    expect(() => parseSizes(text)).toThrow(/^--sizes: expected/);
  });
});

it('factors are those of nccl-tests', () => {
  const factors = Object.fromEntries(
    COLLECTIVES.map(({ name, factor }) => [name, [2, 3, 4].map((ranks) => Number(factor(ranks).toFixed(6)))]),
  );
  const part = [0.5, 0.666667, 0.75];
  expect(factors).toEqual({
    send: [1, 1, 1],
    'ring-send': [1, 1, 1],
    'ring-send-both': [1, 1, 1],
    broadcast: [1, 1, 1],
    barrier: [1, 1, 1],
    'all-reduce': [1, 1.333333, 1.5],
    scatter: part,
    gather: part,
    'all-gather': part,
    'reduce-scatter': part,
    'all-to-all': part,
  });
  // 4 MB in 2 s among 4: 2 MB/s of algorithm, 3 on the bus.
  expect(bandwidths(collectiveNamed('all-reduce'), 4, 4e6, 2000)).toEqual({ algbw: 2, busbw: 3 });
  expect(bandwidths(collectiveNamed('all-reduce'), 4, 0, 1)).toEqual({ algbw: 0, busbw: 0 });
});

describe('every collective', () => {
  const cases = COLLECTIVES.flatMap(({ name }) =>
    [2, 3, 4].flatMap((ranks) => [0, 4, 4096, 300 * KIB, 600 * KIB].map((bytes) => [name, ranks, bytes] as const)),
  ).filter(([name, , bytes]) => name !== 'barrier' || bytes === 0);
  it.each(cases)('%s among %d at %d B is right, and sends what the traffic says', async (name, ranks, bytes) => {
    const world = connectLoopback(ranks);
    const collective = collectiveNamed(name);
    const count = collective.count(bytes, ranks);
    expect(count).toBeLessThanOrEqual(bytes / 4);
    expect(count).toBeGreaterThan(bytes / 4 - ranks);
    const prepared = world.map((communicator) => collective.prepare(communicator, count, 5));
    for (const one of prepared) one.clear();
    if (count >= ranks)
      expect(
        prepared.some((one) => one.wrong() > 0),
        'before the run',
      ).toBe(name !== 'barrier');
    await Promise.all(prepared.map((one) => one.run()));
    expect(prepared.map((one) => one.wrong())).toEqual(world.map(() => 0));
    const sent = world.map(({ ledger }) =>
      world.map((_, to) =>
        ledger
          .rows()
          .filter((row) => row.to === to)
          .reduce((sum, row) => sum + row.payload, 0),
      ),
    );
    expect(sent).toEqual(trafficOf(collective, ranks, count));
    for (const communicator of world) communicator.leave();
  });
  it('is chosen by name', () => {
    expect(collectivesNamed('send, all-reduce')).toEqual(['send', 'all-reduce']);
    expect(selectable(undefined)).toContain('gpu-to-gpu');
    expect(() => selectable('all-redcue')).toThrow(/^--only: expected some of send, .*, got 'all-redcue'/);
  });
});

describe('wrong elements are counted', () => {
  it('one by one, NaN and missing ones too', () => {
    const x = valuesOf(1, 1000, 3);
    const expected = (i: number): number => valueAt(1, i, 3);
    expect(countWrong(x, 1000, expected)).toBe(0);
    x[17]++;
    x[18] = NaN;
    expect(countWrong(x, 1000, expected)).toBe(2);
    expect(countWrong(x.subarray(0, 990), 1000, expected)).toBe(12);
  });
  it('sums are exact in any order, and stale rounds, other ranks and shifted frames differ almost everywhere', () => {
    const all = Array.from({ length: 16 }, (_, rank) => valuesOf(rank, 5000, 9));
    const forwards = new Float32Array(5000);
    const backwards = new Float32Array(5000);
    for (const x of all) for (let i = 0; i < 5000; i++) forwards[i] += x[i];
    for (const x of all.toReversed()) for (let i = 0; i < 5000; i++) backwards[i] += x[i];
    expect(backwards).toEqual(forwards);
    expect(countWrong(forwards, 5000, (i) => sumAt(16, i, 9))).toBe(0);
    const x = valuesOf(2, 100_000, 9);
    expect(countWrong(x, 100_000, (i) => valueAt(2, i, 10))).toBeGreaterThan(99_000);
    expect(countWrong(x, 100_000, (i) => valueAt(3, i, 9))).toBeGreaterThan(99_000);
    for (const shift of [1, 4096, 8192, 16384, 65536])
      expect(
        countWrong(x.subarray(shift), 100_000 - shift, (i) => valueAt(2, i, 9)),
        `shift ${shift}`,
      ).toBeGreaterThan(0.99 * (100_000 - shift));
  });
  /** A group whose rank 1 changes what it receives. */
  const tampering = (group: Group, spoil: (out: Float32Array) => void): Group => ({
    ...group,
    begin: (kind, seq) => {
      const operation = group.begin(kind, seq);
      return {
        ...operation,
        recv: async (from, chunk, out) => {
          await operation.recv(from, chunk, out);
          spoil(out as Float32Array);
        },
      };
    },
  });
  it.each([
    [
      'one changed element',
      (out: Float32Array) => {
        out[100] += 1;
      },
      1,
    ],
    [
      'a skipped chunk',
      (out: Float32Array) => {
        out.fill(0, 1024, 2048);
      },
      1000,
    ],
    [
      'two swapped halves',
      (out: Float32Array) => {
        const half = out.slice(0, 2048);
        out.copyWithin(0, 2048, 4096);
        out.set(half, 2048);
      },
      4000,
    ],
  ])('%s in a received buffer shows', async (_, spoil, least) => {
    const world = connectLoopback(2);
    const collective = collectiveNamed('all-gather');
    const prepared = world.map((communicator, rank) =>
      collective.prepare(rank === 1 ? tampering(communicator, spoil) : communicator, 8192, 1),
    );
    for (const one of prepared) one.clear();
    await Promise.all(prepared.map((one) => one.run()));
    expect(prepared[0].wrong()).toBe(0);
    expect(prepared[1].wrong()).toBeGreaterThanOrEqual(least);
    for (const communicator of world) communicator.leave();
  });
});

describe('bare channels', () => {
  it('move all bytes within the window, and notice a close', async () => {
    const [one, other] = channelPair();
    const [a, b] = [new RawPipes(new Map([[1, one]])), new RawPipes(new Map([[0, other]]))];
    const setting = { frame: 1000, window: 4000 };
    const traffic = [
      [0, 123_456],
      [7, 0],
    ];
    for (let i = 0; i < 2; i++) await Promise.all([a.run(0, traffic, setting), b.run(1, traffic, setting)]);
    expect(one.most).toBeLessThanOrEqual(4000);
    expect(one.most).toBeGreaterThan(3000);
    expect(other.most).toBe(7);
    const waiting = b.run(1, traffic, setting);
    other.emit('close');
    await expect(waiting).rejects.toThrow('the bare channel to rank 0 was closed');
  });
  it('tell the sender', async () => {
    const [one, other] = channelPair();
    const ends = [new RawPipes(new Map([[1, one]])), new RawPipes(new Map([[0, other]]))];
    let ms = 0;
    const told = await Promise.all(
      ends.map((end, rank) => end.told(rank, 10_000, { frame: 1000, window: 4000 }, () => (ms += 5))),
    );
    expect(told).toEqual([10, 0]);
  });
  it('bounce', async () => {
    const [one, other] = channelPair();
    const [a, b] = [new RawPipes(new Map([[1, one]])), new RawPipes(new Map([[0, other]]))];
    b.echo(0, true);
    await a.roundTrips(1, 64, 5);
    expect(other.most).toBe(64);
  });
});

describe('a run', () => {
  let leave: () => void = () => undefined;
  afterEach(() => leave());
  const quiet = { onStatus: () => undefined };

  it.each([2, 3])('among %d: a row for each collective and size, all right, with shares and latency', async (ranks) => {
    const fake = fakeRanks(ranks);
    leave = fake.leave;
    const rows: number[] = [];
    let last = '';
    const measured = await benchCollectives(
      { ranks, only: selectable(undefined), sizes: [0, 4096, MIB], rounds: 2, peers: [] },
      fake.call,
      {
        onStatus: (_, done, total) => {
          last = `${done} of ${total}`;
        },
        onRows: (some) => rows.push(some.length),
      },
    );
    expect(last).toBe('32 of 33');
    const names = measured.results.map(({ collective, bytes }) => `${collective} ${sizeName(bytes)}`);
    expect(names).toEqual([
      ...COLLECTIVES.filter(({ name }) => name !== 'barrier').flatMap(({ name }) =>
        ['0 B', '4 KiB', '1 MiB'].map((size) => `${name} ${size}`),
      ),
      'barrier 0 B',
      'gpu-to-gpu 1 MiB',
      'gpu-to-gpu-naive 1 MiB',
    ]);
    expect(rows.reduce((a, b) => a + b)).toBe(measured.results.length);
    for (const row of measured.results) {
      expect(row, row.collective).toMatchObject({
        ranks,
        wrong: 0,
        library: 'tabmesh',
        rounds: 2,
        medianMs: expect.any(Number),
      });
      expect(row.busbw > 0, row.collective).toBe(row.bytes > 0);
      expect(row.rawPipe > 0).toBe(row.bytes > 0);
      expect(row.ofRing === null).toBe(row.bytes === 0);
    }
    expect(measured.latency).toMatchObject({ bytes: 4096, ratio: expect.any(Number), ofRawSteps: expect.any(Number) });
    expect(measured.raw.tried).toHaveLength(12);
    expect(measured.raw.tried).toContainEqual(expect.objectContaining(measured.raw.pipe));
    expect(
      measured.results.map(cellsOf).every((cells) => cells.length === COLUMNS.length && cells.length === ALIGN.length),
    ).toBe(true);
    expect(summarise(measured).at(-1)).toBe('every element of every result was exactly right');
  });

  it('counts what one rank gets wrong, says where, and adds no other', async () => {
    const fake = fakeRanks(2, (rank, name, real) =>
      name === 'collective' && rank === 1
        ? async (request) => ({
            ...((await real(request)) as object),
            wrong: (request as { name: string }).name === 'gather' ? 1 : 0,
          })
        : undefined,
    );
    leave = fake.leave;
    const measured = await benchCollectives(
      { ranks: 2, only: ['send', 'gather'], sizes: [4096], rounds: 3, peers: [] },
      fake.call,
      quiet,
    );
    // The warm-up counts as well.
    expect(measured.results.map(({ collective, wrong }) => [collective, wrong])).toEqual([
      ['send', 0],
      ['gather', 4],
    ]);
    expect(summarise(measured).at(-1)).toBe('4 elements were wrong: tabmesh gather at 4 KiB');
  });

  it('beside libraries: those that load take turns, those that do not are named with the reason', async () => {
    const fake = fakeRanks(
      2,
      (rank, name) =>
        (
          ({
            peerOpen: async (request: unknown) =>
              (request as { library: string }).library === 'broken' && rank === 0 ? { reason: 'it does not load' } : {},
            peerExpect: async () => null,
            peerSend: async () => 500,
            peerVerdict: async () => 2,
          }) as Record<string, (request: unknown) => Promise<unknown>>
        )[name],
    );
    leave = fake.leave;
    const measured = await benchCollectives(
      { ranks: 2, only: [], sizes: [0, MIB], rounds: 2, peers: ['other', 'broken'] },
      fake.call,
      quiet,
    );
    expect(measured.missing).toEqual([{ library: 'broken', reason: 'it does not load' }]);
    expect(
      measured.results.map(({ collective, library, bytes, wrong }) => [collective, library, bytes, wrong]),
    ).toEqual([
      ['transfer', 'tabmesh', MIB, 0],
      ['transfer', 'other', MIB, 6],
    ]);
    expect(measured.results[1].ratio).toBeGreaterThan(1);
    expect(measured.results[1].medianMs).toBe(500);
    expect(summarise(measured)).toContain('no broken: it does not load');
  });

  it('ends with the first rank that fails, and stops where it is told to', async () => {
    const failing = fakeRanks(2, (rank, name) =>
      name === 'collective' && rank === 1
        ? async () => {
            throw new Error('rank 1 closed: its tab is gone');
          }
        : undefined,
    );
    const failure = benchCollectives(
      { ranks: 2, only: ['send'], sizes: [4096], rounds: 1, peers: [] },
      failing.call,
      quiet,
    );
    await expect(failure).rejects.toThrow('rank 1 closed: its tab is gone');
    failing.leave();
    const fake = fakeRanks(2);
    leave = fake.leave;
    let steps = 0;
    await expect(
      benchCollectives({ ranks: 2, only: ['send'], sizes: [4096], rounds: 1, peers: [] }, fake.call, {
        ...quiet,
        checkpoint: () => {
          if (++steps > 5) throw new Error('stopped');
        },
      }),
    ).rejects.toThrow('stopped');
    expect(steps).toBe(6);
  });
});

it('the summary speaks of large sizes alone, and of every library', () => {
  const row = (collective: string, bytes: number, library: string, ofPipe: number, more: object = {}) => ({
    collective,
    ranks: 2,
    bytes,
    library,
    medianMs: 1,
    algbw: 1,
    busbw: 1,
    rawPipe: 1,
    rawRing: 1,
    ofPipe,
    ofRing: 2 * ofPipe,
    minMs: 1,
    maxMs: 1,
    rounds: 2,
    times: 1,
    wrong: 0,
    ...more,
  });
  const measured: CollectivesMeasured = {
    ranks: 2,
    links: ['webrtc worker'],
    raw: {
      pipe: { frame: 65536, window: 262144 },
      ring: { frame: 16384, window: 131072 },
      onPage: 30,
      inWorker: 20,
      tried: [],
    },
    missing: [{ library: 'peerjs', reason: 'offline' }],
    latency: { roundTripMs: 0.5, allReduceMs: 0.6, ratio: 1.2, rawStepsMs: 0.5, ofRawSteps: 1.2, bytes: 4096 },
    results: [
      row('all-reduce', 4096, 'tabmesh', 0.1),
      row('all-reduce', MIB, 'tabmesh', 0.4),
      row('send', 4 * MIB, 'tabmesh', 0.9),
      row('transfer', MIB, 'tabmesh', 0.2, { ratio: null }),
      row('transfer', MIB, 'trystero', 0.2, { ratio: 1.75 }),
    ],
  };
  expect(summarise(measured)).toEqual([
    'bare channel: messages of 64 KiB, at most 256 KiB under way one way (20.0 MB/s; 30.0 if it stays on the page), messages of 16 KiB, at most 128 KiB under way with all 2 ranks sending',
    'from 1 MiB on: busbw is 60 % (40 % to 90 %) of one bare channel alone, and 120 % (80 % to 180 %) of bare channels with the same traffic (geometric mean; least and most)',
    'latency: all-reduce of 4 KiB takes 0.60 ms, 1.20 times 2(n - 1) halves of the bare round trip of 0.50 ms, and 1.20 times its steps over bare channels, 0.50 ms',
    'tabmesh sends 1.75x as fast as trystero at 1 MiB',
    'no peerjs: offline',
    'every element of every result was exactly right',
  ]);
});
