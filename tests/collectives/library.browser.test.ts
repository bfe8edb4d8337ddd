// The library in a page: over real data channels, by BroadcastChannel, and over ports to a worker's worth of ranks;
// results, bytes, and the end of a peer.

import { expect, it } from 'vitest';
import {
  allReduce,
  allReduceBytes,
  barrier,
  connectChannels,
  connectPorts,
  connectTabs,
  mergeTimeline,
  openLanes,
} from '../../src/collectives/index.ts';
import type { ChannelPair, Communicator } from '../../src/collectives/index.ts';

const SIZE = 3;

async function joined(): Promise<{ all: Communicator[]; close(rank: number): void }> {
  const channels = Array.from({ length: SIZE }, () => new Map<number, ChannelPair>());
  const connections: { pc: RTCPeerConnection; rank: number }[] = [];
  const negotiations: Promise<void>[] = [];
  for (let a = 0; a < SIZE; a++) {
    for (let b = a + 1; b < SIZE; b++) {
      const [left, right] = [new RTCPeerConnection(), new RTCPeerConnection()];
      connections.push({ pc: left, rank: a }, { pc: right, rank: b });
      left.onicecandidate = ({ candidate }) => {
        if (candidate) void right.addIceCandidate(candidate);
      };
      right.onicecandidate = ({ candidate }) => {
        if (candidate) void left.addIceCandidate(candidate);
      };
      channels[a].set(b, openLanes(left));
      channels[b].set(a, openLanes(right));
      negotiations.push(
        (async () => {
          await left.setLocalDescription(await left.createOffer());
          await right.setRemoteDescription(left.localDescription!);
          await right.setLocalDescription(await right.createAnswer());
          await left.setRemoteDescription(right.localDescription!);
        })(),
      );
    }
  }
  // The communicators exist while the channels are still opening: what they say waits.
  const all = channels.map((own, rank) => connectChannels(rank, own));
  await Promise.all(negotiations);
  return {
    all,
    close: (rank) => {
      for (const each of connections) if (each.rank === rank) each.pc.close();
    },
  };
}

async function sums(all: readonly Communicator[], count: number): Promise<void> {
  for (const wire of ['f32', 'f16', 'int8'] as const) {
    for (const own of all) own.ledger.reset();
    const xs = all.map((own) => new Float32Array(count).fill(own.rank + 1));
    await Promise.all(all.map((own, r) => allReduce(own, xs[r], { wire })));
    for (const x of xs) expect([x[0], x[count - 1]].map((value) => Math.abs(value - 6) < 0.05)).toEqual([true, true]);
    for (const own of all)
      expect(own.ledger.sentByKind()['all-reduce']).toBe(allReduceBytes(own.rank, SIZE, count, { wire }));
  }
}

it('over data channels: sums, bytes, subgroups; a closed connection names its rank everywhere', async () => {
  const { all, close } = await joined();
  await sums(all, 500_000);
  for (const { links } of all)
    for (const link of links.values())
      expect(link.report()).toMatchObject({ route: 'direct', path: expect.stringMatching(/host|prflx/) as string });
  const pairs = all.map((own) => own.subgroup([2, 0]));
  expect(pairs[1]).toBeUndefined();
  const x = [0, 2].map((rank) => Float32Array.of(rank + 1));
  await Promise.all([allReduce(pairs[0]!, x[0]), allReduce(pairs[2]!, x[1])]);
  expect([x[0][0], x[1][0]]).toEqual([4, 4]);
  const stuck = [0, 2].map((rank) =>
    allReduce(all[rank], new Float32Array(100)).then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
  close(1);
  for (const error of await Promise.all(stuck)) expect(error).toMatchObject({ culprit: 1 });
  const timeline = mergeTimeline([0, 2].map((rank) => all[rank].flightRecord()));
  expect(timeline.reasons.every(({ reason }) => reason.startsWith('rank 1 '))).toBe(true);
});

it('by BroadcastChannel, and over ports', async () => {
  const tabs = await Promise.all(Array.from({ length: SIZE }, () => connectTabs(`library-test`, SIZE)));
  const byRank = [...tabs].sort((a, b) => a.rank - b.rank);
  await sums(byRank, 300_000);
  await Promise.all(byRank.map((own) => barrier(own)));
  byRank[1].leave();
  const late = await Promise.all(
    [0, 2].map((rank) =>
      barrier(byRank[rank]).then(
        () => undefined,
        (error: unknown) => error,
      ),
    ),
  );
  for (const error of late) expect(error).toMatchObject({ culprit: 1, evidence: 'left' });

  const ports = Array.from({ length: SIZE }, () => new Map<number, MessagePort>());
  for (let a = 0; a < SIZE; a++)
    for (let b = a + 1; b < SIZE; b++) {
      const { port1, port2 } = new MessageChannel();
      ports[a].set(b, port1);
      ports[b].set(a, port2);
    }
  const viaPorts = ports.map((own, rank) => connectPorts(rank, own));
  await sums(viaPorts, 500_000);
  for (const own of viaPorts) own.leave();
});

it('a route is what the caller knows, and unknown where nobody does', async () => {
  const [left, right] = [new RTCPeerConnection(), new RTCPeerConnection()];
  const [one, other] = [left, right].map((pc) => pc.createDataChannel('bulk', { negotiated: true, id: 3 }));
  const told = connectChannels(0, new Map([[1, { control: one, bulk: one, connection: left }]]), {
    paths: { 1: 'relay' },
  });
  const untold = connectChannels(1, new Map([[0, other]]));
  expect([told.links.get(1)!.report().route, untold.links.get(0)!.report().route]).toEqual(['relayed', 'unknown']);
  for (const each of [told, untold]) each.leave();
  for (const pc of [left, right]) pc.close();
});

it('a tab that is closed while tabs meet is not counted', async () => {
  const frame = document.body.appendChild(document.createElement('iframe'));
  const { navigator, BroadcastChannel: Channel } = frame.contentWindow as Window & typeof globalThis;
  const ghost = 'f'.repeat(32);
  const scope = 'tabmesh collectives library-test-closed';
  await new Promise<void>((held) => {
    void navigator.locks.request(`${scope} ${ghost}`, () => {
      held();
      return new Promise(() => undefined);
    });
  });
  const heard = new Promise<void>((resolve) => {
    const room = new Channel(scope);
    // The first tab greets whoever comes.
    room.onmessage = () => {
      room.postMessage({ word: 'here', id: ghost });
      resolve();
    };
  });
  const waiting = connectTabs('library-test-closed', 3, { timeoutMs: 1500 });
  waiting.catch(() => {
    /* expected below */
  });
  await heard;
  frame.remove();
  await expect(waiting).rejects.toThrow('1 of 3 tabs came');
});

it('more tabs than agreed, or fewer, are told', async () => {
  await expect(connectTabs('library-test-few', 2, { timeoutMs: 200 })).rejects.toThrow(
    '1 of 2 tabs came within 200 ms',
  );
});
