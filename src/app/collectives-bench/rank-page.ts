// The page's end of one rank: a peer connection to every other rank (simple-peer for signalling and ICE only), whose channels go to the rank's worker, and the
// jobs of the other libraries, which need a page.

import { transfer, wrap } from 'comlink';
import type { Remote } from 'comlink';
import SimplePeer from 'simple-peer/simplepeer.min.js';
import { InternalError, TabmeshError } from '../../base/errors.ts';
import type { JobName, Jobs, PeerJob, RankJob } from '../../bench/collectives/jobs.ts';
import { PEER_LIBRARIES } from '../../bench/collectives/peers/index.ts';
import { createPeerJobs } from '../../bench/collectives/peers/peer.ts';
import type { Signalling } from '../../bench/collectives/peers/peer.ts';
import { within } from '../../bench/failures.ts';
import { RawPipes } from '../../bench/collectives/raw.ts';
import type { RawChannel } from '../../bench/collectives/raw.ts';
import { channelTransferWorks, openLanes } from '../../transport/webrtc.ts';
import { RankSeat } from './rank-seat.ts';
import type { PeerChannels, SeatApi } from './rank-seat.ts';

export interface RankPageOptions {
  readonly rank: number;
  readonly size: number;
  /** Number of the run, the same on all pages. */
  readonly run: number;
  /** For the tuner of each link. */
  readonly tuneMs: number;
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
  readonly #peerJobs: ReturnType<typeof createPeerJobs>;
  readonly #worker: Worker | undefined;
  readonly #seat: RankSeat | undefined;
  readonly #remote: Remote<SeatApi> | undefined;
  readonly #broken: Promise<never>;
  #break!: (error: Error) => void;
  #closed = false;
  readonly #kept = new Map<number, RawChannel>();
  readonly #pagePipes: RawPipes;

  constructor(options: RankPageOptions) {
    const { rank, size, run, tuneMs } = options;
    this.#options = options;
    this.#broken = new Promise((_, reject) => { this.#break = reject; });
    this.#broken.catch(() => undefined);
    this.#peerJobs = createPeerJobs(rank, PEER_LIBRARIES, (library) => this.#signallingOf(library), `tabmesh-${run}`, () => performance.now());
    if (channelTransferWorks()) {
      this.#worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: `rank ${rank}` });
      this.#worker.addEventListener('error', (event) => this.#break(new InternalError(`the worker of rank ${rank} failed (${event.message || 'its script could not be loaded'}); reload the page`)));
      this.#remote = wrap<SeatApi>(this.#worker);
    } else this.#seat = new RankSeat();
    for (let peer = 0; peer < size; peer++) if (peer !== rank) this.#connect(peer);
    this.#pagePipes = new RawPipes(this.#kept);
    if (this.#seat) this.#seat.start(rank, run, tuneMs);
    else void this.#remote!.start(rank, run, tuneMs);
  }

  /** Whether channels go to a worker here. */
  get place(): string { return this.#worker ? 'worker' : 'page'; }

  hear(from: number, about: string, data: unknown): void {
    if (about === 'rank') { this.#peers.get(from)?.signal(data as SimplePeer.SignalData); return; }
    const signalling = this.#signallingOf(about);
    if (signalling.onMessage) signalling.onMessage(data);
    else signalling.early.push(data);
  }

  async perform<K extends JobName>(name: K, job: Jobs[K]['job']): Promise<Jobs[K]['answer']> {
    const work = this.#perform(name, job) as Promise<Jobs[K]['answer']>;
    const unbroken = Promise.race([work, this.#broken]);
    return name === 'meet' ? within(OPEN_MS, `rank ${this.#options.rank} did not connect to all others (are all tabs open and in one network?)`, unbroken) : unbroken;
  }

  close(): void {
    this.#closed = true;
    this.#peerJobs.close();
    const end = (): void => {
      this.#worker?.terminate();
      for (const peer of this.#peers.values()) peer.destroy();
    };
    if (this.#remote) void within(1000, 'the worker did not leave', this.#remote.leave()).then(end, end);
    else { this.#seat?.leave(); end(); }
  }

  async #perform(name: JobName, job: unknown): Promise<unknown> {
    if (name === 'pageRaw') {
      const { bytes, setting } = job as Jobs['pageRaw']['job'];
      await this.#pagePipes.opened();
      return this.#pagePipes.told(this.#options.rank, bytes, setting, () => performance.now());
    }
    if (name.startsWith('peer')) return this.#peerJobs[name as PeerJob](job as never);
    if (this.#seat) return this.#seat.perform(name as RankJob, job);
    const { value, error } = await this.#remote!.perform(name as RankJob, job);
    if (error !== undefined) throw new TabmeshError(error);
    return value;
  }

  #connect(to: number): void {
    const { rank, say } = this.#options;
    const peer = new SimplePeer({ initiator: rank < to, trickle: true, config: { iceServers: [] } });
    this.#peers.set(to, peer);
    peer.on('signal', (data) => say(to, 'rank', JSON.parse(JSON.stringify(data))));
    const fail = (reason: string): void => { if (!this.#closed) this.#break(new TabmeshError(`rank ${to} closed: ${reason}; its tab was closed, crashed or lost the connection`)); };
    peer.on('error', (error) => fail(error instanceof Error ? error.message : String(error)));
    peer.on('close', () => fail('the peer connection ended'));
    const { _pc: pc } = peer as unknown as { readonly _pc: RTCPeerConnection | null };
    if (!pc) return;
    // Handed over in the task that created them: later they could not be.
    const channels: PeerChannels = { lanes: openLanes(pc), raw: pc.createDataChannel('raw', { negotiated: true, id: RAW_ID, ordered: true }) };
    if (rank + to === 1) this.#kept.set(to, pc.createDataChannel('page raw', { negotiated: true, id: PAGE_RAW_ID, ordered: true }) as RawChannel);
    if (this.#seat) this.#seat.adopt(to, channels);
    else void this.#remote!.adopt(to, transfer(channels, channelsIn(channels) as unknown as Transferable[]));
  }

  #signallingOf(library: string): Signalling & { early: unknown[] } {
    const known = this.#signalling.get(library);
    if (known) return known;
    const { rank, say } = this.#options;
    const early: unknown[] = [];
    let listener: Signalling['onMessage'];
    const made = {
      early, say: (message: unknown) => say(1 - rank, library, message),
      get onMessage() { return listener; },
      set onMessage(handler) {
        listener = handler;
        if (handler) for (const message of early.splice(0)) handler(message);
      },
    };
    this.#signalling.set(library, made);
    return made;
  }
}

/** Every channel of the record, however the links name and number theirs. */
function channelsIn(value: unknown): RTCDataChannel[] {
  if (value instanceof RTCDataChannel) return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(channelsIn) : [];
}
