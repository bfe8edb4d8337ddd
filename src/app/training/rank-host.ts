// The page's end of one rank: puts it into a worker, hands it its lanes and its run, and turns its port into events.
// The surprising rule: data channels must be transferred in the very task that created them, so `adoptChannels` posts
// before it returns. A browser that cannot transfer them keeps them here, and this page pumps every message through a
// port (slower, but the same to the worker).

import { transfer, wrap } from 'comlink';
import type { Remote } from 'comlink';
import { InternalError, TabmeshError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import type { ChannelLanes } from '../../cluster/peer-connections.ts';
import type { Met } from '../../cluster/same-browser.ts';
import { relayChannel } from '../../transport/message-port.ts';
import { channelTransferWorks } from '../../transport/webrtc.ts';
import type { LaneHandle } from '../../../workers/lane-handle.ts';
import { OLDER } from '../shared/sentence.ts';
import type { Wish } from '../../../workers/wish-desk.ts';
import type {
  Backend,
  DeviceReport,
  NewRank,
  RankApi,
  RankEvent,
  RankPreparation,
  RankSetup,
} from '../../../workers/protocol.ts';

const CLOSE_MS = 2000;
/** So long a run that is over may take to free what it does not keep. */
const QUIET_MS = 2000;

/** A worker for one or several ranks; it ends with the last of them. */
export class RankWorker {
  readonly #worker = new Worker(new URL('../../../workers/main.ts', import.meta.url), { type: 'module' });
  #ranks = 0;

  /** `crash` hears when the worker cannot go on: its script did not load, or it threw outside a call. */
  host(crash: (error: Error) => void): Remote<RankApi> {
    this.#ranks++;
    this.#worker.addEventListener('error', (event) =>
      crash(
        event.message
          ? new InternalError(`the worker failed (${event.message}); reload the page`)
          : new TabmeshError(OLDER),
      ),
    );
    this.#worker.addEventListener('messageerror', () =>
      crash(new InternalError('a message of the worker could not be read; reload the page')),
    );
    const { port1, port2 } = new MessageChannel();
    this.#worker.postMessage({ rank: port2 } satisfies NewRank, [port2]);
    return wrap<RankApi>(port1);
  }

  /** One rank needs it no more. */
  release(): void {
    if (--this.#ranks === 0) this.#worker.terminate();
  }
}

export class RankHost {
  readonly #worker: RankWorker;
  readonly #api: Remote<RankApi>;
  /** Rejects when the worker cannot go on. */
  readonly #crashed: Promise<never>;
  #crash: (error: Error) => void = () => {};
  /** Where the rank's events come. */
  #events: MessagePort | undefined;
  /** Resolves when nothing of its last run is under way: to whether the rank can serve another. */
  #last: Promise<boolean> | undefined;
  #closed = false;
  /** Its worker cannot go on, whether anybody waited for it or not. */
  #dead = false;

  constructor(worker = new RankWorker()) {
    this.#worker = worker;
    this.#crashed = new Promise((_, reject) => {
      this.#crash = reject;
    });
    // Whoever waits for a call hears of it; without a call nobody needs to.
    this.#crashed.catch(() => {});
    this.#api = worker.host((error) => {
      this.#dead = true;
      this.#crash(error);
    });
  }

  /**
   * Resolves to whether it can serve another run, `waitMs` later at most: its worker lives, nothing of its last run is
   * under way, and the rank has said that it can (RankApi.start).
   */
  async ready(waitMs = QUIET_MS): Promise<boolean> {
    if (this.#closed || this.#dead) return false;
    if (!this.#last) return true;
    let cancel = (): void => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = realWorld.timer(waitMs, () => resolve(false));
    });
    const serves = await Promise.race([this.#last, late]);
    cancel();
    return serves && !this.#closed && !this.#dead;
  }

  open(backend: Backend, ranksHere = 1): Promise<DeviceReport> {
    return this.#guard(this.#api.open(backend, ranksHere));
  }

  prepare(preparation: RankPreparation): Promise<void> {
    return this.#guard(this.#api.prepare(preparation));
  }

  /** As a rank of the same worker was prepared before. */
  prepareAlike(): Promise<void> {
    return this.#guard(this.#api.prepareAlike());
  }

  /** Resolves when all channels are open. The channels belong to the worker, or to the relay, from now on. */
  adoptChannels(peer: number, { control, bulk, latency }: ChannelLanes): Promise<void> {
    if (channelTransferWorks())
      return this.#guard(
        this.#api.adopt(peer, channelHandle(control), channelHandle(bulk), latency && channelHandle(latency)),
      );
    const opened = [control, bulk, ...(latency ? [latency] : [])].map(untilOpen);
    const adopted = this.#api.adopt(peer, relayHandle(control), relayHandle(bulk), latency && relayHandle(latency));
    return this.#guard(Promise.all([adopted, ...opened]).then(() => undefined));
  }

  adoptPorts(peer: number, control: MessagePort, bulk: MessagePort): Promise<void> {
    return this.#guard(this.#api.adopt(peer, portHandle(control, 'message-port'), portHandle(bulk, 'message-port')));
  }

  /** The fast lane to a tab of this browser. */
  adoptSameBrowser(peer: number, met: Met): Promise<void> {
    met.talk.close();
    if (met.kind === 'broadcast') return this.#guard(this.#api.adopt(peer, { kind: 'broadcast', name: met.name }));
    return this.#guard(
      this.#api.adopt(peer, portHandle(met.control, 'same browser'), portHandle(met.bulk, 'same browser')),
    );
  }

  /** The page of an adopted peer holds `lock` as long as it lives. */
  watch(peer: number, lock: string): Promise<void> {
    return this.#guard(this.#api.watch(peer, lock));
  }

  /** What runs with this peer ends, and names it for `what`. */
  accuse(peer: number, what: string): Promise<void> {
    return this.#guard(this.#api.accuse(peer, what));
  }

  /**
   * Trains to the end. Resolves after `done` or `failed` was delivered; a rank that stays tells on until it is closed.
   */
  async start(setup: RankSetup, onEvent: (event: RankEvent) => void): Promise<void> {
    const { port1, port2 } = new MessageChannel();
    this.#events?.close();
    this.#events = port1;
    const last = new Promise<void>((resolve) => {
      port1.onmessage = ({ data }: MessageEvent<RankEvent>) => {
        onEvent(data);
        if (data.kind === 'done' || data.kind === 'failed') resolve();
      };
    });
    const call = this.#guard(this.#api.start(setup, transfer(port2, [port2])));
    this.#last = call.then(
      (serves) => last.then(() => serves),
      () => false,
    );
    // The events have a port of their own: the call may return before the last of them is here, which of a rank that
    // stays is not `done`.
    await this.#guard(Promise.race([last, call.then(() => last)]));
  }

  pause(): Promise<void> {
    return this.#guard(this.#api.pause());
  }

  resume(): Promise<void> {
    return this.#guard(this.#api.resume());
  }

  request(wish: Wish): Promise<void> {
    return this.#guard(this.#api.request(wish));
  }

  /** The hash of the last checkpoint that the rank has told of, that of step `step`. */
  identify(step: number, hash: string): Promise<void> {
    return this.#guard(this.#api.identify(step, hash));
  }

  answer(agreed: boolean): Promise<void> {
    return this.#guard(this.#api.answer(agreed));
  }

  /** Says goodbye to the peers and frees the device. Posted at once, so that it also goes out of a closing page. */
  leave(): Promise<void> {
    return this.#guard(this.#api.leave());
  }

  /**
   * Leaves, then ends the worker if no other rank is in it; a worker that does not answer within `waitMs` is ended all
   * the same.
   */
  close(waitMs = CLOSE_MS): void {
    if (this.#closed) return;
    this.#closed = true;
    // What a rank tells of being ended is for nobody.
    this.#events?.close();
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      this.#crash(new InternalError('the worker was ended'));
      this.#worker.release();
    };
    const timer = setTimeout(end, waitMs);
    this.leave().then(end, end);
  }

  #guard<T>(call: Promise<T>): Promise<T> {
    return Promise.race([call, this.#crashed]);
  }
}

function channelHandle(channel: RTCDataChannel): LaneHandle {
  return transfer({ kind: 'channel', channel }, [channel as unknown as Transferable]);
}

function relayHandle(channel: RTCDataChannel): LaneHandle {
  const { port1, port2 } = new MessageChannel();
  relayChannel(channel, port1);
  return portHandle(port2, 'webrtc relay');
}

function portHandle(port: MessagePort, via: 'message-port' | 'webrtc relay' | 'same browser'): LaneHandle {
  return transfer({ kind: 'port', port, via }, [port]);
}

function untilOpen(channel: RTCDataChannel): Promise<void> {
  if (channel.readyState === 'open') return Promise.resolve();
  return new Promise((resolve, reject) => {
    channel.addEventListener('open', () => resolve(), { once: true });
    channel.addEventListener(
      'close',
      () => reject(new Error(`the channel '${channel.label}' closed before it opened`)),
      { once: true },
    );
  });
}
