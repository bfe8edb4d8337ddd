// The worker of collective-page.ts: a communicator over the channels that the page hands it, and a program of
// collectives whose every result and byte is checked.

import { PeerError } from '../../src/base/errors.ts';
import { allGather, allGatherBytes } from '../../src/collectives/all-gather.ts';
import { allReduce, allReduceBytes } from '../../src/collectives/all-reduce.ts';
import { barrier } from '../../src/collectives/barrier.ts';
import { broadcast, broadcastBytes } from '../../src/collectives/broadcast.ts';
import { connectChannels } from '../../src/collectives/library/connect.ts';
import type { ChannelPair } from '../../src/collectives/library/connect.ts';
import type { Communicator } from '../../src/collectives/library/communicator.ts';
import { evenParts } from '../../src/collectives/parts.ts';
import { formatTimeline, mergeTimeline } from '../../src/collectives/record/timeline.ts';
import type { CollectiveReport, Order, Program } from './collective-program.ts';

const channels = new Map<number, ChannelPair>();
const tell = (report: CollectiveReport | { kind: 'opened'; peer: number }): void => postMessage(report);
let world: Communicator | undefined;
let [wrong, formula] = [0, 0];

/** Small whole numbers: every sum is exact, in any order. */
const value = (rank: number, i: number, round: number): number => ((rank + 1) * (i % 31) + round) % 64;

function check(right: boolean): void {
  if (!right) wrong++;
}

async function round(own: Communicator, count: number, n: number, kinds: number): Promise<void> {
  const { rank, size } = own;
  const x = Float32Array.from({ length: count }, (_, i) => value(rank, i, n));
  formula += allReduceBytes(rank, size, count);
  await allReduce(own, x);
  check(
    x.every((sum, i) => {
      let expected = 0;
      for (let r = 0; r < size; r++) expected += value(r, i, n);
      return sum === expected;
    }),
  );
  if (kinds === 1) return;
  const offsets = evenParts(count, size);
  const all = new Float32Array(count);
  const owner = (i: number): number => offsets.findLastIndex((offset) => offset <= i);
  const part = Float32Array.from({ length: offsets[rank + 1]! - offsets[rank]! }, (_, i) => value(rank, i, n));
  formula += allGatherBytes(rank, offsets);
  await allGather(own, part, offsets, all);
  check(
    all.every((got, i) => {
      const from = owner(i);
      return got === value(from, i - offsets[from]!, n);
    }),
  );
  const root = n % size;
  const told =
    rank === root ? Float32Array.from({ length: count }, (_, i) => value(root, i, n)) : new Float32Array(count);
  formula += broadcastBytes(rank, size, root, count);
  await broadcast(own, told, root);
  check(told.every((got, i) => got === value(root, i, n)));
}

async function run(rank: number, { rounds, count }: Program): Promise<void> {
  const own = (world = connectChannels(rank, channels));
  const startMs = performance.now();
  try {
    for (let n = 0; rounds === 'forever' || n < rounds; n++) {
      await round(own, count, n, rounds === 'forever' ? 1 : 3);
      if (n % 5 === 0) tell({ kind: 'step', done: n + 1 });
    }
    await barrier(own);
    const sent = Object.values(own.ledger.sentByKind()).reduce((sum, bytes) => sum + bytes, 0);
    tell({ kind: 'done', ms: performance.now() - startMs, wrong, sent, formula });
  } catch (error) {
    const atMs = Date.now();
    const { culprit, evidence } = error instanceof PeerError ? error : { culprit: -1, evidence: '' };
    const { name, message } = error as Error;
    tell({
      kind: 'failed',
      name,
      message,
      culprit,
      evidence,
      atMs,
      wrong,
      timeline: formatTimeline(mergeTimeline([own.flightRecord()])),
    });
  }
}

async function adopt(peer: number, pair: ChannelPair): Promise<void> {
  channels.set(peer, pair);
  await Promise.all(
    [pair.control, pair.bulk].map((channel) =>
      channel.readyState === 'open'
        ? undefined
        : new Promise((resolve) => {
            channel.addEventListener('open', resolve);
          }),
    ),
  );
  tell({ kind: 'opened', peer });
}

onmessage = ({ data }: MessageEvent<Order>) => {
  switch (data.kind) {
    case 'adopt':
      void adopt(data.peer, data);
      break;
    case 'run':
      void run(data.rank, data.program);
      break;
    case 'leave':
      world?.leave();
      break;
    default:
      data satisfies never;
  }
};
