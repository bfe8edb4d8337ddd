// What a page hands to the worker of a rank for one lane to a peer, and how the worker makes wires of it.

import { broadcastChannelWire } from '../src/transport/broadcast-channel.ts';
import { messagePortWire } from '../src/transport/message-port.ts';
import type { Lanes, Wire } from '../src/transport/transport.ts';
import { channelWire } from '../src/transport/webrtc.ts';

/**
 * One lane to a peer: the channel itself where the browser can transfer it, otherwise a port that the page pumps; or a
 * port or BroadcastChannel to a worker of this browser.
 */
export type LaneHandle =
  | { readonly kind: 'channel'; readonly channel: RTCDataChannel }
  | {
      readonly kind: 'port';
      readonly port: MessagePort;
      readonly via: 'webrtc relay' | 'message-port' | 'same browser';
    }
  | { readonly kind: 'broadcast'; readonly name: string };

/** Without `bulk`, control serves as both. */
export interface LaneHandles {
  readonly control: LaneHandle;
  readonly bulk?: LaneHandle | undefined;
  readonly latency?: LaneHandle | undefined;
}

/** `place` tells people where data channels live; `gone` aborts when the tab at the other end is known to be gone. */
export function lanesOf(
  { control, bulk, latency }: LaneHandles,
  place: 'webrtc worker' | 'webrtc page',
  gone?: AbortSignal,
): Lanes {
  const first = wireOf(control, place, gone);
  return {
    control: first,
    bulk: bulk ? wireOf(bulk, place, gone) : first,
    ...(latency ? { latency: wireOf(latency, place, gone) } : {}),
  };
}

function wireOf(lane: LaneHandle, place: string, gone: AbortSignal | undefined): Wire {
  if (lane.kind === 'channel') return channelWire(lane.channel, place, gone);
  if (lane.kind === 'port') return messagePortWire(lane.port, lane.via, gone);
  const { wire, lost } = broadcastChannelWire(lane.name);
  gone?.addEventListener('abort', lost);
  return wire;
}
