// The page's end of one rank: a peer connection to every other rank (simple-peer for signalling and ICE only), whose
// channels go to the rank's worker, ports or BroadcastChannels for the links if the run asks for them, and the requests
// to the other libraries, which need a page.

import { transfer, wrap } from 'comlink';
import type { Remote } from 'comlink';
import SimplePeer from 'simple-peer/simplepeer.min.js';
import { InternalError, TabmeshError } from '../../base/errors.ts';
import { meetByWorker } from '../shared/same-browser.ts';
import type { RequestName, Requests, PeerRequest, RankRequest } from '../../bench/collectives/requests.ts';
import type { BenchTransport } from '../../bench/collectives/link.ts';
import { PEER_LIBRARIES } from '../../bench/collectives/peers/index.ts';
import { createPeerRequests } from '../../bench/collectives/peers/peer.ts';
import type { Signalling } from '../../bench/collectives/peers/peer.ts';
import { within } from '../../bench/failures.ts';
import { RawPipes } from '../../bench/collectives/raw.ts';
import type { RawChannel } from '../../bench/collectives/raw.ts';
import { channelTransferWorks, openLanes } from '../../transport/webrtc.ts';
import { RankSeat } from './rank-seat.ts';
import type { SeatApi } from './rank-seat.ts';
import type { LaneHandle, LaneHandles } from '../../../workers/lane-handle.ts';
import { OLDER } from '../shared/sentence.ts';

export interface RankPageOptions {
  readonly rank: number;
  /** Names of all tabs, by rank. */
  readonly names: readonly string[];
  /** Number of the run, the same on all pages. */
  readonly run: number;
  /** For the tuner of each link. */
  readonly tuneMs: number;
  readonly transport: BenchTransport;
  /** What another rank should get; `about` is 'rank' or a library. */
  readonly say: (to: number, about: string, data: unknown) => void;
}

/** Beside control and bulk. */
const RAW_ID = 40;
const PAGE_RAW_ID = 41;
const OPEN_MS = 30_000;

export class RankPage {
  readonly #options: RankPageOptions;
  readonly #peers = new Map<number, SimplePeer.Instance>();
  readonly #signalling = new Map<string, Signalling & { early: unknown[] }>();
  readonly #peerRequests: ReturnType<typeof createPeerRequests>;
  readonly #worker: Worker | undefined;
  readonly #seat: RankSeat | undefined;
  readonly #remote: Remote<SeatApi> | undefined;
  readonly #started: Promise<void>;
  readonly #broken: Promise<never>;
  #break!: (error: Error) => void;
  #closed = false;
  readonly #kept = new Map<number, RawChannel>();
  readonly #pagePipes: RawPipes;
  readonly #ended = new AbortController();

  constructor(options: RankPageOptions) {
    const { rank, names, run, tuneMs } = options;
    this.#options = options;
    this.#broken = new Promise((_, reject) => {
      this.#break = reject;
    });
    this.#broken.catch(() => undefined);
    this.#peerRequests = createPeerRequests(
      rank,
      PEER_LIBRARIES,
      (library) => this.#signallingOf(library),
      `tabmesh-${run}`,
      () => performance.now(),
    );
    if (channelTransferWorks()) {
      this.#worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: `rank ${rank}` });
      this.#worker.addEventListener('error', (event) =>
        this.#break(
          event.message
            ? new InternalError(`the worker of rank ${rank} failed (${event.message}); reload the page`)
            : new TabmeshError(OLDER),
        ),
      );
      this.#remote = wrap<SeatApi>(this.#worker);
    } else this.#seat = new RankSeat();
    const others = [...names.keys()].filter((peer) => peer !== rank);
    for (const peer of others) this.#connect(peer);
    this.#pagePipes = new RawPipes(this.#kept);
    this.#started = this.#join(others).then(() => {
      if (this.#seat) this.#seat.start(rank, run, tuneMs);
      else void this.#remote!.start(rank, run, tuneMs);
    });
    // Told to the first who asks for something.
    this.#started.catch(() => undefined);
  }

  /** Whether channels go to a worker here. */
  get place(): string {
    return this.#worker ? 'worker' : 'page';
  }

  hear(from: number, about: string, data: unknown): void {
    if (about === 'rank') {
      this.#peers.get(from)?.signal(data as SimplePeer.SignalData);
      return;
    }
    const signalling = this.#signallingOf(about);
    if (signalling.onMessage) signalling.onMessage(data);
    else signalling.early.push(data);
  }

  async perform<K extends RequestName>(name: K, request: Requests[K]['request']): Promise<Requests[K]['answer']> {
    const work = this.#perform(name, request) as Promise<Requests[K]['answer']>;
    const unbroken = Promise.race([work, this.#broken]);
    return name === 'meet'
      ? within(
          OPEN_MS,
          `rank ${this.#options.rank} did not connect to all others (are all tabs open and in one network?)`,
          unbroken,
        )
      : unbroken;
  }

  close(): void {
    this.#closed = true;
    this.#ended.abort();
    this.#peerRequests.close();
    const end = (): void => {
      this.#worker?.terminate();
      for (const peer of this.#peers.values()) peer.destroy();
    };
    if (this.#remote) void within(1000, 'the worker did not leave', this.#remote.leave()).then(end, end);
    else {
      this.#seat?.leave();
      end();
    }
  }

  async #perform(name: RequestName, request: unknown): Promise<unknown> {
    if (name === 'pageRaw') {
      const { bytes, setting } = request as Requests['pageRaw']['request'];
      await this.#pagePipes.opened();
      return this.#pagePipes.told(this.#options.rank, bytes, setting, () => performance.now());
    }
    if (name.startsWith('peer')) return this.#peerRequests[name as PeerRequest](request as never);
    await this.#started;
    if (this.#seat) return this.#seat.perform(name as RankRequest, request);
    const { value, error } = await this.#remote!.perform(name as RankRequest, request);
    if (error !== undefined) throw new TabmeshError(error);
    return value;
  }

  #connect(to: number): void {
    const { rank, say } = this.#options;
    const peer = new SimplePeer({ initiator: rank < to, trickle: true, config: { iceServers: [] } });
    this.#peers.set(to, peer);
    peer.on('signal', (data) => say(to, 'rank', JSON.parse(JSON.stringify(data))));
    const fail = (reason: string): void => {
      if (!this.#closed)
        this.#break(
          new TabmeshError(`rank ${to} closed: ${reason}; its tab was closed, crashed or lost the connection`),
        );
    };
    peer.on('error', (error) => fail(error instanceof Error ? error.message : String(error)));
    peer.on('close', () => fail('the peer connection ended'));
    const { _pc: pc } = peer as unknown as { readonly _pc: RTCPeerConnection | null };
    if (!pc) return;
    // Handed over in the task that created them: later they could not be.
    const raw = pc.createDataChannel('raw', { negotiated: true, id: RAW_ID, ordered: true });
    if (rank + to === 1)
      this.#kept.set(
        to,
        pc.createDataChannel('page raw', { negotiated: true, id: PAGE_RAW_ID, ordered: true }) as RawChannel,
      );
    if (this.#seat) this.#seat.adoptRaw(to, raw);
    else void this.#remote!.adoptRaw(to, transfer(raw, [raw as unknown as Transferable]));
    if (this.#options.transport !== 'webrtc') return;
    const { control, bulk, latency } = openLanes(pc);
    this.#adopt(to, {
      control: { kind: 'channel', channel: control },
      bulk: { kind: 'channel', channel: bulk },
      latency: { kind: 'channel', channel: latency },
    });
  }

  /** Links that do not go over WebRTC; nobody else can know the names of the meetings. */
  async #join(others: readonly number[]): Promise<void> {
    const { rank, names, run, transport } = this.#options;
    const meetingOf = (peer: number): string => `tabmesh bench ${run} ${[names[rank], names[peer]].sort().join(' ')}`;
    if (transport === 'broadcast')
      for (const peer of others) this.#adopt(peer, { control: { kind: 'broadcast', name: meetingOf(peer) } });
    if (transport !== 'ports') return;
    const meet = meetByWorker();
    if (!meet)
      throw new TabmeshError('this browser has no SharedWorker to make ports, or refuses it; choose another transport');
    await Promise.all(
      others.map(async (peer) => {
        const met = await meet(meetingOf(peer), this.#ended.signal);
        met.talk.close();
        if (met.kind === 'ports')
          this.#adopt(peer, {
            control: { kind: 'port', port: met.control, via: 'same browser' },
            bulk: { kind: 'port', port: met.bulk, via: 'same browser' },
          });
      }),
    );
  }

  #adopt(peer: number, handles: LaneHandles): void {
    if (this.#seat) this.#seat.adoptLink(peer, handles);
    else
      void this.#remote!.adoptLink(
        peer,
        transfer(handles, [handles.control, handles.bulk, handles.latency].flatMap(movable)),
      );
  }

  #signallingOf(library: string): Signalling & { early: unknown[] } {
    const known = this.#signalling.get(library);
    if (known) return known;
    const { rank, say } = this.#options;
    const early: unknown[] = [];
    let listener: Signalling['onMessage'];
    const made = {
      early,
      say: (message: unknown) => say(1 - rank, library, message),
      get onMessage() {
        return listener;
      },
      set onMessage(handler) {
        listener = handler;
        if (handler) for (const message of early.splice(0)) handler(message);
      },
    };
    this.#signalling.set(library, made);
    return made;
  }
}

function movable(lane: LaneHandle | undefined): Transferable[] {
  if (lane?.kind === 'port') return [lane.port];
  return lane?.kind === 'channel' ? [lane.channel as unknown as Transferable] : [];
}
