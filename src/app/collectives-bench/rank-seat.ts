// Where a rank sits: in a worker where data channels can be handed to one, else on the page. Collects the ends of its links, then performs jobs.

import { InternalError } from '../../base/errors.ts';
import type { Handlers, Jobs, RankJob } from '../../bench/collectives/jobs.ts';
import { createRank } from '../../bench/collectives/rank.ts';
import type { RawChannel } from '../../bench/collectives/raw.ts';
import { createCommunicator } from '../../collectives/library/communicator.ts';
import { channelLanes, oneLane } from '../../collectives/library/connect.ts';
import type { ChannelPair } from '../../collectives/library/connect.ts';
import { createWebGpuDevice } from '../../device/webgpu.ts';
import { broadcastChannelWire } from '../../transport/broadcast-channel.ts';
import { messagePortWire } from '../../transport/message-port.ts';
import type { Lanes } from '../../transport/transport.ts';

/** Our end of the link to one peer: data channels, ports, or the name of a BroadcastChannel. */
export type LinkEnd =
  | { readonly kind: 'channels'; readonly channels: ChannelPair }
  | { readonly kind: 'ports'; readonly control: MessagePort; readonly bulk: MessagePort }
  | { readonly kind: 'broadcast'; readonly name: string };

export interface SeatApi {
  adoptRaw(peer: number, channel: RTCDataChannel): void;
  adoptLink(peer: number, end: LinkEnd): void;
  start(rank: number, run: number, tuneMs: number): void;
  /** An error comes as its message: its class would not survive the way. */
  perform(name: RankJob, job: unknown): Promise<{ readonly value?: unknown; readonly error?: string }>;
  leave(): void;
}

const SAME_BROWSER = 'same browser';
/** A 64 MiB array among four tabs on two slow cores takes long; a closed tab is noticed at once all the same. */
const DEADLINES = { silentMs: 10_000, receiveMs: 60_000, operationMs: 180_000 };

export class RankSeat {
  readonly #raw = new Map<number, RawChannel>();
  readonly #lanes = new Map<number, Lanes>();
  #rank: ReturnType<typeof createRank> | undefined;

  adoptRaw(peer: number, channel: RTCDataChannel): void { this.#raw.set(peer, channel as RawChannel); }

  adoptLink(peer: number, end: LinkEnd): void { this.#lanes.set(peer, lanesOf(end)); }

  /** After the last link and bare channel. `run` keeps the frames of an earlier run apart. */
  start(rank: number, run: number, tuneMs: number): void {
    const communicator = createCommunicator(rank, this.#lanes, { run, tuneMs, deadlines: DEADLINES });
    this.#rank = createRank({ communicator, raw: this.#raw, openDevice: () => createWebGpuDevice(navigator.gpu) });
  }

  async perform(name: RankJob, job: unknown): Promise<Jobs[RankJob]['answer']> {
    if (!this.#rank) throw new InternalError('a rank was asked before it had started');
    return (this.#rank as Handlers<RankJob>)[name](job as never);
  }

  leave(): void { this.#rank?.leave(); }
}

function lanesOf(end: LinkEnd): Lanes {
  if (end.kind === 'ports') return { control: messagePortWire(end.control, SAME_BROWSER), bulk: messagePortWire(end.bulk, SAME_BROWSER) };
  if (end.kind === 'broadcast') return oneLane(broadcastChannelWire(end.name).wire);
  return channelLanes(end.channels, typeof document === 'undefined' ? 'webrtc worker' : 'webrtc page');
}
