// From wires to a Communicator: ranks of one process, message ports (workers, iframes, tabs that a page or SharedWorker
// introduced), and WebRTC data channels that the caller has opened, by whatever signalling. The ranks are the caller's
// to number: 0 ... P - 1, each pair joined once.

import { realWorld } from '../../base/world.ts';
import { loopbackPair } from '../../transport/loopback.ts';
import type { LoopbackOptions } from '../../transport/loopback.ts';
import { watchPath } from '../../transport/pipes/ice-path.ts';
import { messagePortWire } from '../../transport/message-port.ts';
import type { DataChannel, Port, StatsSource } from '../../transport/pipes/pipes.ts';
import type { Lanes, Wire } from '../../transport/transport.ts';
import { channelWire, connectionOf } from '../../transport/webrtc.ts';
import { createCommunicator } from './communicator.ts';
import type { Communicator, ConnectOptions } from './communicator.ts';

export interface LoopbackConnectOptions extends ConnectOptions, Pick<LoopbackOptions, 'delayMs' | 'bytesPerMs'> {
  /** Wraps a wire as rank `self` sees it, to inject faults. */
  readonly wrap?: (wire: Wire, self: number, peer: number, lane: keyof Lanes) => Wire;
}

/**
 * `size` ranks in this process, index = rank: for tests, and for several virtual devices in one tab. Optional delay and
 * bandwidth by the World's timers.
 */
export function connectLoopback(size: number, options: LoopbackConnectOptions = {}): Communicator[] {
  const { delayMs, bytesPerMs, world = realWorld, wrap = (wire) => wire } = options;
  const lanes = Array.from({ length: size }, () => new Map<number, Lanes>());
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const pair = () =>
        loopbackPair({
          world,
          ...(delayMs === undefined ? {} : { delayMs }),
          ...(bytesPerMs === undefined ? {} : { bytesPerMs }),
        });
      const [control, bulk, latency] = [pair(), pair(), pair()];
      for (const [end, self, peer] of [
        [0, a, b],
        [1, b, a],
      ] as const)
        lanes[self].set(peer, {
          control: wrap(control.ends[end], self, peer, 'control'),
          bulk: wrap(bulk.ends[end], self, peer, 'bulk'),
          latency: wrap(latency.ends[end], self, peer, 'latency'),
        });
    }
  }
  return lanes.map((own, rank) => createCommunicator(rank, own, options));
}

/**
 * One end of a MessageChannel per peer, by the peer's rank; the other end is the peer's. The ports are the
 * communicator's from now on.
 */
export function connectPorts(
  rank: number,
  ports: ReadonlyMap<number, Port>,
  options: ConnectOptions = {},
): Communicator {
  return createCommunicator(
    rank,
    new Map([...ports].map(([peer, port]) => [peer, oneLane(messagePortWire(port))])),
    options,
  );
}

/**
 * Data channels to one peer: control never waits behind bulk, nor do small messages if there is `latency`. Ordered and
 * reliable, open or opening, made with `openLanes` or alike.
 */
export interface ChannelPair {
  readonly control: DataChannel;
  readonly bulk: DataChannel;
  readonly latency?: DataChannel;
  /** Their RTCPeerConnection, which knows the route; not needed for channels that `openLanes` made here. */
  readonly connection?: StatsSource;
}

/**
 * WebRTC data channels by the peer's rank: a pair each, or a single one where no more is to be had. The channels are
 * the communicator's from now on. A worker that was handed channels does not know their connection: give `paths`, or
 * the route in its reports is unknown.
 */
export function connectChannels(
  rank: number,
  channels: ReadonlyMap<number, DataChannel | ChannelPair>,
  options: ConnectOptions = {},
): Communicator {
  const lanes = new Map<number, Lanes>();
  const paths: Record<number, string | (() => string | undefined) | undefined> = { ...options.paths };
  for (const [peer, given] of channels) {
    const {
      control,
      bulk,
      latency,
      connection = connectionOf(control),
    }: ChannelPair = 'control' in given ? given : { control: given, bulk: given };
    lanes.set(
      peer,
      control === bulk
        ? oneLane(channelWire(control))
        : {
            control: channelWire(control),
            bulk: channelWire(bulk),
            ...(latency ? { latency: channelWire(latency) } : {}),
          },
    );
    if (connection) paths[peer] ??= watchPath(connection);
  }
  return createCommunicator(rank, lanes, { ...options, paths });
}

/** One wire for all lanes. */
export function oneLane(wire: Wire): Lanes {
  return { control: wire, bulk: wire };
}
