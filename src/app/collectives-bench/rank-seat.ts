// Where a rank sits: in a worker where data channels can be handed to one, else on the page. Collects its channels, then performs jobs.

import { InternalError } from '../../base/errors.ts';
import type { Handlers, Jobs, RankJob } from '../../bench/collectives/jobs.ts';
import { createRank } from '../../bench/collectives/rank.ts';
import type { RawChannel } from '../../bench/collectives/raw.ts';
import { connectChannels } from '../../collectives/library/connect.ts';
import type { ChannelPair } from '../../collectives/library/connect.ts';
import { createWebGpuDevice } from '../../device/webgpu.ts';

/** The channels to one peer: those of the links, and a bare one. */
export interface PeerChannels { readonly lanes: ChannelPair; readonly raw: RTCDataChannel }

export interface SeatApi {
  adopt(peer: number, channels: PeerChannels): void;
  start(rank: number, run: number, tuneMs: number): void;
  /** An error comes as its message: its class would not survive the way. */
  perform(name: RankJob, job: unknown): Promise<{ readonly value?: unknown; readonly error?: string }>;
  leave(): void;
}

/** A 64 MiB array among four tabs on two slow cores takes long; a closed tab is noticed at once all the same. */
const DEADLINES = { silentMs: 10_000, receiveMs: 60_000, operationMs: 180_000 };

export class RankSeat {
  readonly #channels = new Map<number, PeerChannels>();
  #rank: ReturnType<typeof createRank> | undefined;

  adopt(peer: number, channels: PeerChannels): void { this.#channels.set(peer, channels); }

  /** After the last channel. `run` keeps the frames of an earlier run apart. */
  start(rank: number, run: number, tuneMs: number): void {
    const communicator = connectChannels(rank, new Map([...this.#channels].map(([peer, { lanes }]) => [peer, lanes])), { run, tuneMs, deadlines: DEADLINES });
    this.#rank = createRank({ communicator, raw: new Map([...this.#channels].map(([peer, { raw }]) => [peer, raw as RawChannel])), openDevice: () => createWebGpuDevice(navigator.gpu) });
  }

  async perform(name: RankJob, job: unknown): Promise<Jobs[RankJob]['answer']> {
    if (!this.#rank) throw new InternalError('a rank was asked before it had started');
    return (this.#rank as Handlers<RankJob>)[name](job as never);
  }

  leave(): void { this.#rank?.leave(); }
}
