// The transport contract over real data channels: two peer connections in one page, then with one end in a worker,
// transferred or relayed.

import { describe, expect, it } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { createLink } from '../../src/transport/link.ts';
import { relayChannel } from '../../src/transport/message-port.ts';
import { channelWire, openLanes } from '../../src/transport/webrtc.ts';
import type { Tag } from '../../src/transport/transport.ts';
import { CHALLENGERS, DEFAULT_FRAMING } from '../../src/transport/tune-link.ts';
import { firstDifference, ramp, transportContract } from '../contracts/transport-contract.ts';
import type { LanesPair } from '../contracts/transport-contract.ts';
import type { EchoRequest } from './channel-worker.ts';

type Channels = ReturnType<typeof openLanes<RTCDataChannel>>;

/** Two connections whose channels exist but are not yet open, and what opens them. */
function connections(): { a: Channels; b: Channels; open(): Promise<void>; close(): void } {
  const [left, right] = [new RTCPeerConnection(), new RTCPeerConnection()];
  left.onicecandidate = ({ candidate }) => {
    if (candidate) void right.addIceCandidate(candidate);
  };
  right.onicecandidate = ({ candidate }) => {
    if (candidate) void left.addIceCandidate(candidate);
  };
  return {
    a: openLanes(left),
    b: openLanes(right),
    async open() {
      await left.setLocalDescription(await left.createOffer());
      await right.setRemoteDescription(left.localDescription!);
      await right.setLocalDescription(await right.createAnswer());
      await left.setRemoteDescription(right.localDescription!);
    },
    close() {
      left.close();
      right.close();
    },
  };
}

async function opened(channel: RTCDataChannel): Promise<void> {
  if (channel.readyState !== 'open')
    await new Promise((resolve) => {
      channel.addEventListener('open', resolve);
    });
}

async function connect(): Promise<LanesPair> {
  const pair = connections();
  await pair.open();
  await Promise.all([pair.a, pair.b].flatMap((channels) => Object.values(channels)).map(opened));
  const lanes = ({ control, bulk, latency }: Channels) => ({
    control: channelWire(control),
    bulk: channelWire(bulk),
    latency: channelWire(latency),
  });
  return { a: lanes(pair.a), b: lanes(pair.b), close: pair.close };
}

transportContract('webrtc page', connect, { bigBytes: 16 << 20 });

it('tunes itself: a framing among the candidates, rates that both ends know alike, and then whole messages', async () => {
  const { a, b, close } = await connect();
  const options = { run: 1, view: 1, world: realWorld, silentMs: 30_000, tuneMs: 4000, path: 'host' };
  const [left, right] = [
    createLink({ lanes: a, self: 0, peer: 1, ...options }),
    createLink({ lanes: b, self: 1, peer: 0, ...options }),
  ];
  const data = ramp(1 << 20);
  const [outA, outB, tiny] = [new Float32Array(data.length), new Float32Array(data.length), new Float32Array(8)];
  const tag = (seq: number): Tag => ({ group: 1, seq, chunk: 0, kind: 'gradient' });
  await Promise.all([
    left.send(tag(0), data),
    right.recv(tag(0), outB),
    right.send(tag(0), data),
    left.recv(tag(0), outA),
    left.send(tag(1), data.subarray(0, 8)),
    right.recv(tag(1), tiny),
  ]);
  expect([
    firstDifference(outA, data),
    firstDifference(outB, data),
    firstDifference(tiny, data.subarray(0, 8)),
  ]).toEqual([-1, -1, -1]);
  for (const [own, peer] of [
    [left, right],
    [right, left],
  ] as const) {
    const { route, path, frameBytes, windowBytes, sending } = own.report();
    expect([route, path]).toEqual(['direct', 'host']);
    expect([DEFAULT_FRAMING, ...CHALLENGERS]).toContainEqual({ frameBytes, windowBytes });
    expect(sending.probed).toBeGreaterThan(0);
    expect(peer.report().receiving.probed).toBe(sending.probed);
  }
  left.leave();
  expect((await right.failed).evidence).toBe('left');
  close!();
});

describe('a channel whose end lives in a worker', () => {
  const tag = (seq: number): Tag => ({ group: 1, seq, chunk: 0, kind: 'gradient' });

  /** Sends 4 MiB to the worker and back through `hand`, which gives it the far end. */
  async function echo(hand: (worker: Worker, far: Channels, count: number) => void): Promise<unknown> {
    const count = 1 << 20;
    const pair = connections();
    const worker = new Worker(new URL('./channel-worker.ts', import.meta.url), { type: 'module' });
    const report = new Promise<unknown>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<unknown>) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
    });
    hand(worker, pair.b, count); // in the task that made the channel: later it may not be transferred
    await pair.open();
    // Made while the channels are opening: what is said before they are open waits.
    const link = createLink({
      lanes: { control: channelWire(pair.a.control), bulk: channelWire(pair.a.bulk) },
      self: 0,
      peer: 1,
      run: 1,
      view: 1,
      world: realWorld,
      silentMs: 30_000,
    });
    const data = ramp(count);
    const out = new Float32Array(count);
    await Promise.all([link.recv(tag(1), out), link.send(tag(0), data)]);
    expect(
      firstDifference(
        out,
        data.map((x) => 2 * x),
      ),
    ).toBe(-1);
    link.leave();
    const said = await report;
    worker.terminate();
    pair.close();
    return said;
  }

  it('works when the channels are transferred', async () => {
    const said = await echo((worker, far, count) => {
      const request: EchoRequest = { channels: far, count };
      worker.postMessage(request, [far.control, far.bulk] as unknown as Transferable[]);
    });
    expect(said).toEqual({ kind: 'webrtc worker', evidence: 'left' });
  });

  it('works when the page relays through ports', async () => {
    const said = await echo((worker, far, count) => {
      const [control, bulk] = [new MessageChannel(), new MessageChannel()];
      relayChannel(far.control, control.port2);
      relayChannel(far.bulk, bulk.port2);
      const request: EchoRequest = { ports: { control: control.port1, bulk: bulk.port1 }, count };
      worker.postMessage(request, [control.port1, bulk.port1]);
    });
    expect(said).toEqual({ kind: 'webrtc relay', evidence: 'left' });
  });
});
