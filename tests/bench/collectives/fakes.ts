// Ranks of this process for the bench of collectives: loopback links, and bare channels that deliver in later tasks as
// a data channel does.

import { connectLoopback } from '../../../src/collectives/library/connect.ts';
import type { Communicator } from '../../../src/collectives/library/communicator.ts';
import { createRank } from '../../../src/bench/collectives/rank.ts';
import type { Call, Handlers, RankRequest } from '../../../src/bench/collectives/requests.ts';
import type { RawChannel } from '../../../src/bench/collectives/raw.ts';
import { createCpuDevice } from '../../../src/device/cpu.ts';

type Listener = (event: MessageEvent<ArrayBuffer>) => void;

/** One end of a data channel. */
export class FakeChannel implements RawChannel {
  binaryType: BinaryType = 'blob';
  bufferedAmountLowThreshold = 0;
  bufferedAmount = 0;
  readyState: RTCDataChannelState = 'open';
  /** The most that was ever handed over and not sent. */
  most = 0;
  peer!: FakeChannel;
  readonly #listeners = new Map<string, Listener[]>();

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  emit(type: string, event: object = {}): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event as MessageEvent<ArrayBuffer>);
  }

  send(data: unknown): void {
    const bytes = data instanceof ArrayBuffer ? data.slice(0) : new Uint8Array(data as Uint8Array<ArrayBuffer>).buffer;
    this.bufferedAmount += bytes.byteLength;
    this.most = Math.max(this.most, this.bufferedAmount);
    setImmediate(() => {
      const before = this.bufferedAmount;
      this.bufferedAmount -= bytes.byteLength;
      if (before > this.bufferedAmountLowThreshold && this.bufferedAmount <= this.bufferedAmountLowThreshold)
        this.emit('bufferedamountlow');
      this.peer.emit('message', { data: bytes });
    });
  }
}

export function channelPair(): readonly [FakeChannel, FakeChannel] {
  const ends = [new FakeChannel(), new FakeChannel()] as const;
  [ends[0].peer, ends[1].peer] = [ends[1], ends[0]];
  return ends;
}

export interface FakeRanks {
  readonly call: Call;
  readonly communicators: readonly Communicator[];
  readonly ranks: readonly Handlers<RankRequest>[];
  leave(): void;
}

/** `requests`: instead of the real ones, by rank and name. */
export function fakeRanks(
  size: number,
  requests: (
    rank: number,
    name: string,
    real: (request: unknown) => Promise<unknown>,
  ) => ((request: unknown) => Promise<unknown>) | undefined = () => undefined,
): FakeRanks {
  const communicators = connectLoopback(size);
  const raw = communicators.map(() => new Map<number, FakeChannel>());
  for (let a = 0; a < size; a++)
    for (let b = a + 1; b < size; b++) {
      const [one, other] = channelPair();
      raw[a].set(b, one);
      raw[b].set(a, other);
    }
  const ranks = communicators.map((communicator, rank) =>
    createRank({ communicator, raw: raw[rank], openDevice: async () => createCpuDevice() }),
  );
  return {
    communicators,
    ranks,
    call: (async (rank: number, name: string, request: unknown) => {
      const real = (ranks[rank] as unknown as Record<string, (request: unknown) => Promise<unknown>>)[name];
      if (name === 'pageRaw') return 100;
      return (requests(rank, name, real) ?? real)(request);
    }) as Call,
    leave: () => {
      for (const rank of ranks) rank.leave();
    },
  };
}
