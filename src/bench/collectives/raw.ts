// Bare data channels, with nothing of tabmesh: frames of one size, at most a window of bytes handed over and not sent.
// What the links are compared with.

import { TabmeshError } from '../../base/errors.ts';

/** What is used of an RTCDataChannel. */
export type RawChannel = Pick<RTCDataChannel, 'send' | 'bufferedAmount' | 'readyState'> & {
  binaryType: BinaryType;
  bufferedAmountLowThreshold: number;
  addEventListener(
    type: 'message' | 'bufferedamountlow' | 'open' | 'close',
    listener: (event: MessageEvent<ArrayBuffer>) => void,
  ): void;
};

export interface RawSetting {
  /** Bytes of a message. */ readonly frame: number;
  /** Most bytes handed over and not sent. */ readonly window: number;
}

/** One end of the bare channel to one peer. */
class RawEnd {
  readonly opened: Promise<void>;
  readonly #channel: RawChannel;
  readonly #scratch = new Uint8Array(256 * 1024);
  #received = 0;
  #wanted: { readonly bytes: number; readonly resolve: () => void } | undefined;
  #low: (() => void) | undefined;
  #echo = false;
  #fail!: (error: Error) => void;
  readonly #closed: Promise<never>;

  constructor(channel: RawChannel, peer: number) {
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    this.#closed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    // Whoever uses the channel hears of it.
    this.#closed.catch(() => undefined);
    channel.addEventListener('close', () =>
      this.#fail(new TabmeshError(`the bare channel to rank ${peer} was closed`)),
    );
    channel.addEventListener('bufferedamountlow', () => {
      this.#low?.();
    });
    channel.addEventListener('message', ({ data }) => {
      if (this.#echo) {
        channel.send(data);
        return;
      }
      this.#received += data.byteLength;
      this.#settle();
    });
    this.opened =
      channel.readyState === 'open'
        ? Promise.resolve()
        : Promise.race([
            this.#closed,
            new Promise<void>((resolve) => {
              channel.addEventListener('open', () => resolve());
            }),
          ]);
    this.opened.catch(() => undefined);
  }

  set echo(on: boolean) {
    this.#echo = on;
  }

  async send(bytes: number, { frame, window }: RawSetting): Promise<void> {
    const channel = this.#channel;
    channel.bufferedAmountLowThreshold = window >> 2;
    for (let sent = 0; sent < bytes;) {
      const size = Math.min(frame, bytes - sent);
      const { bufferedAmount } = channel;
      if (bufferedAmount > 0 && bufferedAmount + size > window) {
        await Promise.race([
          this.#closed,
          new Promise<void>((resolve) => {
            this.#low = resolve;
          }),
        ]);
        continue;
      }
      channel.send(this.#scratch.subarray(0, size));
      sent += size;
    }
  }

  /** Resolves when `bytes` more have come since the last call resolved. */
  receive(bytes: number): Promise<void> {
    return Promise.race([
      this.#closed,
      new Promise<void>((resolve) => {
        this.#wanted = { bytes, resolve };
        this.#settle();
      }),
    ]);
  }

  #settle(): void {
    if (!this.#wanted || this.#received < this.#wanted.bytes) return;
    this.#received -= this.#wanted.bytes;
    const { resolve } = this.#wanted;
    this.#wanted = undefined;
    resolve();
  }
}

/** The bare channels of one rank. */
export class RawPipes {
  readonly #ends: ReadonlyMap<number, RawEnd>;

  constructor(channels: ReadonlyMap<number, RawChannel>) {
    this.#ends = new Map([...channels].map(([peer, channel]) => [peer, new RawEnd(channel, peer)]));
  }

  async opened(): Promise<void> {
    await Promise.all([...this.#ends.values()].map((end) => end.opened));
  }

  /** Sends and receives so many bytes by peer, all at once; resolves when all were handed over and have come. */
  async run(rank: number, traffic: readonly (readonly number[])[], setting: RawSetting): Promise<void> {
    const moves: Promise<void>[] = [];
    for (const [peer, end] of this.#ends) {
      if (traffic[peer][rank] > 0) moves.push(end.receive(traffic[peer][rank]));
      if (traffic[rank][peer] > 0) moves.push(end.send(traffic[rank][peer], setting));
    }
    await Promise.all(moves);
  }

  /** `rank` 0 sends `bytes` and waits for a word back; milliseconds. Rank 1 gives the word. */
  async told(rank: number, bytes: number, setting: RawSetting, now: () => number): Promise<number> {
    const end = this.#ends.get(1 - rank)!;
    const start = now();
    const came = end.receive(rank === 0 ? 4 : bytes);
    if (rank === 0) await end.send(bytes, setting);
    await came;
    if (rank === 1) await end.send(4, setting);
    return rank === 0 ? now() - start : 0;
  }

  /** From now on whatever comes from `peer` goes back, or does no more. */
  echo(peer: number, on: boolean): void {
    this.#ends.get(peer)!.echo = on;
  }

  /** One message there and back, `times` times. */
  async roundTrips(peer: number, bytes: number, times: number): Promise<void> {
    const end = this.#ends.get(peer)!;
    for (let i = 0; i < times; i++) {
      const back = end.receive(bytes);
      await end.send(bytes, { frame: bytes, window: 4 * bytes });
      await back;
    }
  }
}
