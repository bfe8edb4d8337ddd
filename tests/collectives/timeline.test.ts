// Flight recorder and timeline: a ring of 1,000, dumps that survive JSON, and the first rank that diverged, for each
// way to diverge.

import { expect, it } from 'vitest';
import { VirtualWorld } from '../../src/base/world.ts';
import { allReduce } from '../../src/collectives/all-reduce.ts';
import { barrier } from '../../src/collectives/barrier.ts';
import type { Communicator } from '../../src/collectives/library/communicator.ts';
import { connectLoopback } from '../../src/collectives/library/connect.ts';
import { FLIGHT_RECORDS, createFlightRecorder } from '../../src/collectives/record/flight-recorder.ts';
import type { FlightDump } from '../../src/collectives/record/flight-recorder.ts';
import { culpritOf } from '../../src/collectives/record/operation-watch.ts';
import { formatTimeline, mergeTimeline } from '../../src/collectives/record/timeline.ts';
import { simulate } from '../support/collective-simulator.ts';

const dumps = (all: readonly Communicator[]): FlightDump[] =>
  JSON.parse(JSON.stringify(all.map((own) => own.flightRecord()))) as FlightDump[];

it('keeps the last 1,000 operations in place', () => {
  const recorder = createFlightRecorder(0, { now: () => 5 });
  recorder.group(7, 'dp', [0, 1]);
  const first = recorder.begin(7, 'barrier', 0, false);
  for (let seq = 1; seq < 2500; seq++) recorder.begin(7, 'all-reduce', seq, false);
  recorder.posted(first, 1, true, 4); // its place has another owner: nothing happens
  const dump = recorder.dump('test');
  expect([dump.records.length, dump.dropped, dump.records[0].seq, dump.records.at(-1)!.seq]).toEqual([
    FLIGHT_RECORDS,
    1500,
    1500,
    2499,
  ]);
  expect(dump.records.every(({ sends, bytesSent }) => sends === 0 && bytesSent === 0)).toBe(true);
});

it('names a rank that called something else', async () => {
  const all = connectLoopback(3);
  await Promise.all(all.map((own) => barrier(own)));
  await Promise.allSettled(all.map((own, r) => allReduce(own, new Float32Array(r === 1 ? 31 : 30))));
  const { diverged } = mergeTimeline(dumps(all));
  expect(diverged).toMatchObject({ kind: 'mismatch', rank: 1, group: 'world', seq: 1 });
  expect(formatTimeline(mergeTimeline(dumps(all)))).toContain(
    'first to diverge: rank 1 (mismatch) in world 1: it called all-reduce f32[31] (sum, exchange), 2 of 3 called all-reduce f32[30] (sum, exchange)',
  );
});

it('names a rank that did not call, and all of them name it too', async () => {
  const world = new VirtualWorld();
  const all = connectLoopback(4, { world });
  const running = all.map(async (own, r) => {
    await barrier(own);
    await allReduce(own, new Float32Array(100));
    if (r !== 2) await barrier(own);
  });
  void Promise.allSettled(running);
  await world.advance(60_000);
  const errors = await Promise.all(all.map((own) => own.failed));
  for (const error of errors) expect([error.culprit, error.evidence]).toEqual([2, 'slow']);
  const timeline = mergeTimeline(dumps(all));
  expect(timeline.diverged).toMatchObject({ kind: 'missing', rank: 2, seq: 2 });
  const text = formatTimeline(timeline);
  expect(text).toContain('world 0 to 1: 2 operations ended on all ranks');
  expect(text).toMatch(/world 2: 0 barrier u32\[0\] waiting for \d since \d+ ms .* 2 not called/);
});

it('names a rank whose message is missing, and the chain that waits for it', () => {
  const record = (over: object) => ({
    groupId: 1,
    kind: 'all-gather',
    seq: 4,
    point: false,
    call: 'f32[8]',
    startMs: 0,
    endMs: 10,
    sends: 1,
    sendsEnded: 1,
    receives: 1,
    receivesEnded: 0,
    bytesSent: 32,
    failed: true,
    waitsFor: -1,
    ...over,
  });
  const groups = [{ id: 1, name: 'dp', ranks: [5, 6, 7] }];
  const all: FlightDump[] = [
    { rank: 5, atMs: 900, reason: 'rank 7 slow', dropped: 0, groups, records: [record({ waitsFor: 7 })] },
    { rank: 6, atMs: 900, reason: 'rank 7 slow', dropped: 0, groups, records: [record({ waitsFor: 5 })] },
    {
      rank: 7,
      atMs: 70,
      reason: 'rank 7 slow',
      dropped: 0,
      groups,
      records: [record({ receivesEnded: 1, failed: false })],
    },
  ];
  expect(mergeTimeline(all).diverged).toMatchObject({
    kind: 'stalled',
    rank: 7,
    what: 'holds up rank 5, rank 7 in all-gather f32[8]'.replace('rank 5, rank 7', 'rank 5'),
  });
  expect(mergeTimeline([])).toEqual({ entries: [], passages: [], diverged: undefined, reasons: [] });
});

it('groups of one number with other members are different groups', () => {
  const at = (rank: number, ranks: number[], seqs: number[]): FlightDump => ({
    rank,
    atMs: 9,
    reason: '',
    dropped: 0,
    groups: [{ id: 3, name: 'tp', ranks }],
    records: seqs.map((seq) => ({
      groupId: 3,
      kind: 'barrier',
      seq,
      point: false,
      call: 'u32[0]',
      startMs: 0,
      endMs: 1,
      sends: 1,
      sendsEnded: 1,
      receives: 1,
      receivesEnded: 1,
      bytesSent: 0,
      failed: false,
      waitsFor: -1,
    })),
  });
  expect(
    mergeTimeline([at(0, [0, 1], [0, 1]), at(1, [0, 1], [0, 1]), at(2, [2, 3], [0]), at(3, [2, 3], [0])]).diverged,
  ).toBeUndefined();
});

it('an operation that a rank passed over, because runs in flight mix their steps, was not called', () => {
  const recorders = [0, 1].map((rank) => createFlightRecorder(rank, { now: () => 100 }));
  for (const [rank, recorder] of recorders.entries()) {
    recorder.group(3, 'tp', [0, 1]);
    for (const seq of rank === 0 ? [0, 2] : [0, 2, 1]) {
      const entry = recorder.begin(3, 'barrier', seq, false);
      recorder.signed(entry, 'u32', 0, 0);
      recorder.posted(entry, 1 - rank, false, 0);
      if (seq !== 1) recorder.ended(entry, false, true);
    }
  }
  const { diverged } = mergeTimeline(recorders.map((recorder) => recorder.dump('')));
  expect(diverged).toMatchObject({ kind: 'missing', rank: 0, group: 'tp', seq: 1 });
});

it('a pipeline that stalls: messages that callers number are no operations that others did not call', () => {
  const world = { now: () => 100 };
  const groups = (rank: number) => {
    const recorder = createFlightRecorder(rank, world);
    recorder.group(9, 'pipeline forward', [0, 1, 2]);
    return recorder;
  };
  const [first, middle, last] = [groups(0), groups(1), groups(2)];
  // Rank 0 has sent message 4 and computes the next for ever; 1 waits for 5, 2 for what 1 makes of it.
  const sent = first.begin(9, 'activation', 4, true);
  first.posted(sent, 1, true, 8);
  first.ended(sent, true, true);
  middle.posted(middle.begin(9, 'activation', 5, true), 0, false, 8);
  last.posted(last.begin(9, 'activation', 6, true), 1, false, 8);
  const all = [first, middle, last].map((recorder) => recorder.dump('rank 0 slow'));
  const timeline = mergeTimeline(all);
  expect(timeline.entries).toEqual([]);
  expect(timeline.diverged).toMatchObject({ kind: 'stalled', rank: 0, group: 'pipeline forward' });
  expect(formatTimeline(timeline)).toContain('pipeline forward 6: 2 activation waiting for 1 since 0 ms');
  expect(first.dump('', 0).records).toEqual([]);
});

it('names the stuck rank of simulated runs', async () => {
  let named = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const { communicators, culprit } = await simulate(seed, { fault: 'stuck' });
    const { diverged } = mergeTimeline(dumps(communicators));
    if (diverged?.rank === culprit && diverged.kind === 'missing') named++;
  }
  expect(named).toBe(20);
});

it('follows the chain of who waits for whom', () => {
  const waits = (of: Record<number, number>) => (rank: number) => of[rank];
  expect(culpritOf(1, 0, waits({ 1: 2, 2: 3 }))).toBe(3);
  expect(culpritOf(1, 0, waits({}))).toBe(1);
  expect(culpritOf(1, 0, waits({ 1: 2, 2: 0 }))).toBe(1); // back to ourselves: no end
  expect(culpritOf(1, 0, waits({ 1: 2, 2: 1 }))).toBe(1);
  expect(culpritOf(1, 0, waits({ 1: 2, 2: 3, 3: 2 }))).toBe(2); // 1 is a victim of the circle of 2 and 3
  expect(culpritOf(1, 0, waits({ 1: 2, 2: 2 }))).toBe(2); // takes its time on purpose
});
