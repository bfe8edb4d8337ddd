// Where a rank sits: in a worker where data channels can be handed to one, else on the page. Collects the ends of its
// links, then answers requests.

import { InternalError } from '../../base/errors.ts';
import type { Handlers, Requests, RankRequest } from '../../bench/collectives/requests.ts';
import { createRank } from '../../bench/collectives/rank.ts';
import type { RawChannel } from '../../bench/collectives/raw.ts';
import { createCommunicator } from '../../collectives/library/communicator.ts';
import { createWebGpuDevice } from '../../device/webgpu.ts';
import type { Lanes } from '../../transport/transport.ts';
import { lanesOf } from '../../../workers/lane-handle.ts';
import type { LaneHandles } from '../../../workers/lane-handle.ts';

export interface SeatApi {
  adoptRaw(peer: number, channel: RTCDataChannel): void;
  adoptLink(peer: number, handles: LaneHandles): void;
  start(rank: number, run: number, tuneMs: number): void;
  /** An error comes as its message: its class would not survive the way. */
  perform(name: RankRequest, request: unknown): Promise<{ readonly value?: unknown; readonly error?: string }>;
  leave(): void;
}

/** A 64 MiB array among four tabs on two slow cores takes long; a closed tab is noticed at once all the same. */
const DEADLINES = { silentMs: 10_000, receiveMs: 60_000, operationMs: 180_000 };

export class RankSeat {
  readonly #raw = new Map<number, RawChannel>();
  readonly #lanes = new Map<number, Lanes>();
  #rank: ReturnType<typeof createRank> | undefined;

  adoptRaw(peer: number, channel: RTCDataChannel): void {
    this.#raw.set(peer, channel as RawChannel);
  }

  adoptLink(peer: number, handles: LaneHandles): void {
    this.#lanes.set(peer, lanesOf(handles, typeof document === 'undefined' ? 'webrtc worker' : 'webrtc page'));
  }

  /** After the last link and bare channel. `run` keeps the frames of an earlier run apart. */
  start(rank: number, run: number, tuneMs: number): void {
    const communicator = createCommunicator(rank, this.#lanes, { run, tuneMs, deadlines: DEADLINES });
    this.#rank = createRank({ communicator, raw: this.#raw, openDevice: () => createWebGpuDevice(navigator.gpu) });
  }

  async perform(name: RankRequest, request: unknown): Promise<Requests[RankRequest]['answer']> {
    if (!this.#rank) throw new InternalError('a rank was asked before it had started');
    return (this.#rank as Handlers<RankRequest>)[name](request as never);
  }

  leave(): void {
    this.#rank?.leave();
  }
}
