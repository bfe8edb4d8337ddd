// One rank in a worker: it opens the device, takes over the lanes to its peers, and trains. The page only watches. It
// may take part in one run after another: device, compiled plans and buffers stay (RankRuntime), lanes and links are
// each run's own. Ranks of one worker share its GPUDevice; each has its own buffers, links and end: an error of one
// ends the others only by what it tells them as their peer.

import {
  ConfigError,
  type DeviceLostError,
  FilesError,
  InternalError,
  PeerError,
  TabmeshError,
} from '../src/base/errors.ts';
import type { JsonValue } from '../src/base/json.ts';
import { realWorld } from '../src/base/world.ts';
import { createLedger } from '../src/collectives/ledger.ts';
import { createMesh } from '../src/collectives/mesh.ts';
import type { Mesh } from '../src/collectives/mesh.ts';
import type { FlightRecorder } from '../src/collectives/record/flight-recorder.ts';
import { checkNested } from '../src/collectives/record/operation-watch.ts';
import { createWatchedLinks } from '../src/collectives/record/watched-links.ts';
import type { WatchedLinks } from '../src/collectives/record/watched-links.ts';
import { createCpuDevice } from '../src/device/cpu.ts';
import type { Device } from '../src/device/device.ts';
import { deviceOf } from '../src/device/webgpu.ts';
import type { GpuContext } from '../src/device/webgpu.ts';
import { lanesOf } from './lane-handle.ts';
import type { LaneHandle } from './lane-handle.ts';
import { whenTabLockReleased } from '../src/transport/tab-lock.ts';
import { withResolvers } from '../src/transport/inbox.ts';
import type { Lanes, Link } from '../src/transport/transport.ts';
import { parseRunConfig } from '../src/train/run-config.ts';
import { prepareRun } from '../src/train/prepare.ts';
import type { PreparedRun, RunFiles } from '../src/train/prepare.ts';
import { runRank } from '../src/train/run.ts';
import type { RunConfig } from '../src/train/run-config.ts';
import { RankRuntime } from '../src/train/runtime/rank-runtime.ts';
import { WishDesk } from './wish-desk.ts';
import type { Wish } from './wish-desk.ts';
import type {
  Backend,
  DeviceReport,
  LinkReport,
  RankApi,
  RankEvent,
  RankPreparation,
  RankSetup,
  SharedFiles,
} from './protocol.ts';
import type { Ready, WorkerShare } from './worker-share.ts';
import { withSharedFiles } from './shared-files.ts';
import { openWasmDevice } from './wasm-device.ts';

/** The tuner of each link may take so long before anything else begins. */
const TUNE_MS = 300;
const LAST_WORDS_MS = 100;

const SILENT_MS = 6000;
/** Operations that a failed rank tells the page. */
const TOLD_RECORDS = 100;
/** What a device that neither checks nor measures is made for. */
const PLAIN = '';

/** One rank. It has no run before `start`, and `share` is for all ranks of its worker. */
export class Rank implements RankApi {
  readonly #share: WorkerShare;
  #device: Device | undefined;
  /** What the device was made for, besides its GPU. */
  #deviceFor = PLAIN;
  /** Why the device is of no use any more. */
  #lost: DeviceLostError | undefined;
  #gpu: GpuContext | undefined;
  readonly #runtime = new RankRuntime();
  readonly #ledger = createLedger();
  #running = false;
  #ready: Ready | undefined;
  /** Instead: what is prepared when the shared files are here. */
  #later:
    | { readonly config: RunConfig; readonly shared: SharedFiles; readonly make: (brought: RunFiles) => PreparedRun }
    | undefined;
  #mesh: Mesh | undefined;
  #links: ReadonlyMap<number, Link> = new Map();
  readonly #lanes = new Map<number, Lanes>();
  /** The tabs at the other ends. */
  readonly #tabs = new Map<number, TabWatch>();
  /** Peers that the page has accused before the links began. */
  readonly #accused = new Map<number, PeerError>();
  /** What the page wants of the run. */
  readonly #desk = new WishDesk();
  /** What the person says to a download. */
  #answer = withResolvers<boolean>();

  constructor(share: WorkerShare) {
    this.#share = share;
  }

  async open(backend: Backend, ranksHere = 1): Promise<DeviceReport> {
    if (this.#lost) this.#free();
    if (!this.#device) {
      const gpu = backend === 'webgpu' ? await this.#share.openGpu() : undefined;
      const device = gpu ? deviceOf(gpu) : backend === 'wasm' ? await openWasmDevice(ranksHere) : createCpuDevice();
      [this.#gpu, this.#device] = [gpu, device];
      void device.lost.then((error) => {
        // What was given back is missed by nobody.
        if (this.#device === undefined || this.#gpu !== gpu) return;
        this.#lost = error;
        this.#mesh?.abort(lossOf(error, this.#mesh.rank));
      });
    }
    return { adapter: this.#device.adapter, kind: this.#device.kind };
  }

  async prepare({ config, files, checkpoint, shared }: RankPreparation): Promise<void> {
    this.#checkIdle('prepare');
    // Of peers that never met us.
    for (const peer of this.#lanes.keys()) this.#closeLanes(peer);
    this.#forgetPeers();
    const parsed = parseRunConfig(Object.entries(config) as [string, JsonValue][]);
    const make = (brought: RunFiles): PreparedRun =>
      prepareRun(parsed, { ...files, ...(checkpoint ? { checkpoint } : {}), ...brought });
    this.#later = shared && { config: parsed, shared, make };
    if (!shared) this.#ready = this.#share.ready = { config: parsed, prepared: make({}) };
  }

  prepareAlike(): void {
    this.#ready = this.#share.ready;
  }

  async adopt(peer: number, control: LaneHandle, bulk?: LaneHandle, latency?: LaneHandle): Promise<void> {
    this.#closeLanes(peer);
    this.#accused.delete(peer);
    const tab = new TabWatch();
    this.#tabs.set(peer, tab);
    this.#lanes.set(peer, lanesOf({ control, bulk, latency }, 'webrtc worker', tab.gone));
    await Promise.all([control, bulk, latency].map((lane) => lane && opened(lane)));
  }

  watch(peer: number, lock: string): void {
    this.#tabs.get(peer)?.watch(lock);
  }

  accuse(peer: number, what: string): void {
    const error = new PeerError(peer, 'corrupt', what);
    const link = this.#links.get(peer);
    if (link) link.abort(error);
    else this.#accused.set(peer, error);
  }

  async start(setup: RankSetup, events: MessagePort): Promise<boolean> {
    this.#checkIdle('start');
    this.#running = true;
    const tell = (event: RankEvent): void => events.postMessage(event);
    this.#desk.clear();
    this.#answer = withResolvers<boolean>();
    let mesh: Mesh | undefined;
    let recorder: FlightRecorder | undefined;
    let stopWatching = (): void => {};
    let [goesOn, serves] = [false, true];
    try {
      const [ready, later] = [this.#ready, this.#later];
      const config = (later ?? ready)?.config;
      if (!this.#device || !config) throw new InternalError('start before open and prepare');
      const watched = watch(setup, config, this.#lanes, (error) => mesh?.abort(error));
      this.#links = watched.links;
      mesh = createMesh({ layout: config.layout, rank: setup.rank, ledger: this.#ledger, ...watched });
      this.#mesh = mesh;
      recorder = watched.recorder;
      for (const error of this.#accused.values()) mesh.abort(error);
      if (this.#lost) mesh.abort(lossOf(this.#lost, setup.rank));
      stopWatching = () => watched.watch.stop();
      // Compiling and measuring take as long as they take.
      watched.hold(true);
      // While this thread is free to answer: what compiles or computes meanwhile would be measured as the link.
      await Promise.all([...this.#links.values()].map(({ tuned }) => tuned));
      const meeting = {
        mesh,
        links: [...this.#links.values()],
        world: realWorld,
        silentMs: SILENT_MS,
        hold: watched.hold,
        tell,
        agreed: () => this.#answer.promise,
      };
      const prepared = later
        ? await withSharedFiles({ ...meeting, shared: later.shared }, later.make)
        : ready!.prepared;
      await runRank({
        // Only now is it known how long the device may measure.
        device: await this.#deviceOf(config),
        mesh,
        ledger: this.#ledger,
        world: realWorld,
        config,
        prepared,
        runtime: this.#runtime,
        checkpointHash: later?.shared.files.find(({ field }) => field === 'checkpoint')?.hash,
        wantGradients: setup.wantGradients,
        wantModel: setup.wantModel,
        sampleTokens: setup.sampleTokens,
        copies: setup.copies,
        onEvent: (event) => {
          tell(event);
          if (event.kind === 'ready') watched.hold(false);
          if (event.kind === 'done') {
            this.#desk.over();
            goesOn = event.stopped;
          }
          if (event.kind === 'step') tell({ kind: 'links', links: [...this.#links.values()].map(report) });
        },
        requests: () => this.#desk.take(),
        takeAsk: () => this.#desk.takeAsk(),
        whileWaiting: (paused) => this.#desk.next(paused),
        // Who waits for a person is not slow.
        onWait: (waits) => watched.hold(waits),
        holdDuring: watched.holdDuring,
        ...(setup.stays ? { stays: true } : {}),
      });
      for (const link of this.#links.values()) link.leave();
    } catch (error) {
      goesOn = serves = isBlameless(error, setup.rank);
      // All ranks throw this alike; whoever was told of it would name one of them for it.
      if (error instanceof FilesError) for (const link of this.#links.values()) link.leave();
      fail(error, setup.rank, mesh, recorder, tell);
    } finally {
      stopWatching();
      this.#forgetPeers();
      this.#links = new Map();
      this.#mesh = undefined;
      this.#running = false;
    }
    // Nobody goes on with a run that is trained to its end, nor with what may be to blame.
    if (!goesOn) await this.#runtime.dispose();
    return serves;
  }

  identify(step: number, hash: string): void {
    this.#runtime.identify(step, hash);
  }

  pause(): void {
    this.#desk.pause();
  }

  resume(): void {
    this.#desk.resume();
  }

  request(wish: Wish): void {
    this.#desk.request(wish);
  }

  answer(agreed: boolean): void {
    this.#answer.resolve(agreed);
  }

  leave(): void {
    for (const link of this.#links.values()) link.leave();
    this.#free();
  }

  /** All that holds memory of the device, and the device. */
  #free(): void {
    // What runs frees its own when it ends.
    if (!this.#running) void this.#runtime.dispose();
    this.#device?.destroy();
    this.#device = this.#lost = undefined;
    this.#deviceFor = PLAIN;
    if (this.#gpu) this.#share.releaseGpu();
    this.#gpu = undefined;
  }

  /** The device of a run with these settings; for others than the last run's another is made, with the same GPU. */
  async #deviceOf({ tune, precision }: RunConfig): Promise<Device> {
    const wanted = this.#gpu && tune !== null ? `tune=${tune} precision=${precision}` : PLAIN;
    if (this.#gpu && wanted !== this.#deviceFor) {
      await this.#runtime.dispose();
      this.#device!.destroy();
      this.#device =
        tune === null
          ? deviceOf(this.#gpu)
          : deviceOf(this.#gpu, {
              qualifier: await this.#share.qualifier(tune),
              reducedPrecision: precision === 'f16',
            });
      this.#deviceFor = wanted;
    }
    return this.#device!;
  }

  #checkIdle(what: string): void {
    if (this.#running) throw new InternalError(`${what} while this rank is in a run; wait until that is over`);
  }

  #forgetPeers(): void {
    for (const tab of this.#tabs.values()) tab.stop();
    this.#tabs.clear();
    this.#lanes.clear();
    this.#accused.clear();
  }

  #closeLanes(peer: number): void {
    const { control, bulk, latency } = this.#lanes.get(peer) ?? {};
    for (const wire of [control, bulk, latency]) wire?.close();
    this.#tabs.get(peer)?.stop();
  }
}

/**
 * Links that record their operations and end what takes too long. One receive has no deadline of its own: what it waits
 * for may be a paused rank.
 */
function watch(
  { rank, run, view, paths }: RankSetup,
  { deadline }: RunConfig,
  lanes: ReadonlyMap<number, Lanes>,
  expired: (error: PeerError) => void,
): WatchedLinks {
  const deadlines = {
    silentMs: SILENT_MS,
    receiveMs: Infinity,
    operationMs: deadline === null ? Infinity : deadline * 1000,
  };
  checkNested(deadlines);
  // Between ranks of one tab there is nothing to find out: measuring would keep the threads of all busy before the
  // first step.
  const tuneMs = [...lanes.values()].every(({ bulk }) => bulk.kind === 'message-port') ? 0 : TUNE_MS;
  return createWatchedLinks({
    rank,
    lanes,
    run,
    view,
    world: realWorld,
    silentMs: deadlines.silentMs,
    operationMs: deadlines.operationMs,
    tuneMs,
    ...(paths ? { paths } : {}),
    expired,
  });
}

function lossOf(error: DeviceLostError, rank: number): PeerError {
  return new PeerError(rank, 'device-lost', error.message);
}

/** Whether a run ended by no fault of `rank`: by another's, or because files did not come, which all throw alike. */
function isBlameless(error: unknown, rank: number): boolean {
  return error instanceof FilesError || (error instanceof PeerError && error.culprit !== rank);
}

/** Tells the peers who failed, then the page. An error of our own is told as ours. */
function fail(
  error: unknown,
  rank: number,
  mesh: Mesh | undefined,
  recorder: FlightRecorder | undefined,
  tell: (event: RankEvent) => void,
): void {
  const known =
    error instanceof TabmeshError
      ? error
      : new InternalError(error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error));
  const peer = known instanceof PeerError ? known : new PeerError(rank, 'crashed', known.message.slice(0, 300));
  const flight = recorder?.dump(known.message.slice(0, 300), TOLD_RECORDS);
  mesh?.abort(peer);
  tell({
    kind: 'failed',
    name: known.name,
    message: known.message,
    ...(known instanceof PeerError ? { culprit: known.culprit, evidence: known.evidence } : {}),
    ...(flight ? { flight } : {}),
  });
}

function report(link: Link): LinkReport {
  return { ...link.report(), sent: link.stats.payloadSent, received: link.stats.payloadReceived };
}

/** Hears of the end of the tab that holds a lock. */
class TabWatch {
  readonly #gone = new AbortController();
  readonly #stopped = new AbortController();
  #cancel = (): void => {};

  /** Aborts when the tab is gone. A little later: what it said before may still be on its way. */
  readonly gone = this.#gone.signal;

  watch(lock: string): void {
    whenTabLockReleased(lock, this.#stopped.signal, () => {
      this.#cancel = realWorld.timer(LAST_WORDS_MS, () => this.#gone.abort());
    });
  }

  stop(): void {
    this.#cancel();
    this.#stopped.abort();
  }
}

/** A port is open when it arrives: the page relays only open channels. */
function opened(lane: LaneHandle): Promise<void> {
  if (lane.kind !== 'channel' || lane.channel.readyState === 'open') return Promise.resolve();
  const { channel } = lane;
  return new Promise((resolve, reject) => {
    channel.addEventListener('open', () => resolve(), { once: true });
    channel.addEventListener(
      'close',
      () => reject(new ConfigError('link', 'the data channel closed before it opened')),
      { once: true },
    );
  });
}
