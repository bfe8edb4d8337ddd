// One worker = one rank: it opens the device, takes over the lanes to its peers, and trains. The page only watches.

import { expose } from 'comlink';
import { ConfigError, InternalError, PeerError, TabmeshError } from '../src/base/errors.ts';
import type { JsonValue } from '../src/base/json.ts';
import { realWorld } from '../src/base/world.ts';
import { createLedger } from '../src/collectives/ledger.ts';
import { createMesh } from '../src/collectives/mesh.ts';
import type { Mesh } from '../src/collectives/mesh.ts';
import { createCpuDevice } from '../src/device/cpu.ts';
import type { Device } from '../src/device/device.ts';
import { deviceOf, openGpu } from '../src/device/webgpu.ts';
import type { GpuContext } from '../src/device/webgpu.ts';
import { createLink } from '../src/transport/link.ts';
import { messagePortWire } from '../src/transport/message-port.ts';
import type { Lanes, Link, Wire } from '../src/transport/transport.ts';
import { channelWire } from '../src/transport/webrtc.ts';
import { parseRunConfig } from '../src/train/run-config.ts';
import { prepareRun } from '../src/train/prepare.ts';
import type { PreparedRun } from '../src/train/prepare.ts';
import { runRank } from '../src/train/run.ts';
import type { RunConfig } from '../src/train/run-config.ts';
import type { Requests } from '../src/train/trainer.ts';
import { browserQualifier } from './qualification.ts';
import type { Backend, DeviceReport, LaneHandle, RankApi, RankEvent, RankPreparation, RankSetup } from './protocol.ts';

let device: Device | undefined;
let gpu: GpuContext | undefined;
let ready: { readonly config: RunConfig; readonly prepared: PreparedRun; readonly checkpoint?: Uint8Array<ArrayBuffer> } | undefined;
let links: ReadonlyMap<number, Link> = new Map();
const lanes = new Map<number, Lanes>();
let wishes: Requests = { stop: false, save: false, sample: false };
let paused: { promise: Promise<void>; resume: () => void } | undefined;

const api: RankApi = {
  async open(backend: Backend): Promise<DeviceReport> {
    if (!device && backend === 'webgpu') gpu = await openGpu(navigator.gpu);
    device ??= gpu ? deviceOf(gpu, { owned: true }) : createCpuDevice();
    return { adapter: device.adapter, kind: device.kind };
  },
  async prepare({ config, files, checkpoint }: RankPreparation): Promise<void> {
    const parsed = parseRunConfig(Object.entries(config) as [string, JsonValue][]);
    ready = { config: parsed, prepared: prepareRun(parsed, files), checkpoint };
  },
  async adopt(peer: number, control: LaneHandle, bulk: LaneHandle): Promise<void> {
    const old = lanes.get(peer);
    old?.control.close();
    old?.bulk.close();
    lanes.set(peer, { control: wireOf(control), bulk: wireOf(bulk) });
    await Promise.all([opened(control), opened(bulk)]);
  },
  async start(setup: RankSetup, events: MessagePort): Promise<void> {
    const tell = (event: RankEvent): void => events.postMessage(event);
    wishes = { stop: false, save: false, sample: false };
    let mesh: Mesh | undefined;
    try {
      if (!device || !ready) throw new InternalError('start before open and prepare');
      links = new Map([...lanes].map(([peer, own]) => [peer, createLink({ lanes: own, peer, self: setup.rank, run: setup.run, view: setup.view, world: realWorld })]));
      const ledger = createLedger();
      mesh = createMesh({ layout: ready.config.layout, rank: setup.rank, links, ledger });
      // Only now is it known how long the device may measure. It has run nothing yet.
      if (gpu && ready.config.tune !== null) device = deviceOf(gpu, { owned: true, qualifier: await browserQualifier(ready.config.tune), reducedPrecision: ready.config.precision === 'f16' });
      const own = mesh;
      void device.lost.then((error) => own.abort(new PeerError(setup.rank, 'device-lost', error.message)));
      await runRank({
        device, mesh, ledger, world: realWorld, config: ready.config, prepared: ready.prepared, checkpoint: ready.checkpoint,
        wantGradients: setup.wantGradients, wantModel: setup.wantModel, sampleTokens: setup.sampleTokens,
        onEvent: (event) => {
          tell(event);
          if (event.kind === 'step') tell({ kind: 'links', links: [...links.values()].map(report) });
        },
        requests: takeWishes,
        mayContinue: async () => { await paused?.promise; },
      });
      for (const link of links.values()) link.leave();
    } catch (error) {
      fail(error, setup.rank, mesh, tell);
    } finally {
      lanes.clear();
      links = new Map();
    }
  },
  pause(): void {
    if (paused) return;
    let resume = (): void => {};
    const promise = new Promise<void>((resolve) => { resume = resolve; });
    paused = { promise, resume };
  },
  resume(): void {
    paused?.resume();
    paused = undefined;
  },
  request(wish: Partial<Requests>): void {
    wishes = { ...wishes, ...wish };
    // A stop must be heard even while paused.
    if (wish.stop) api.resume();
  },
  leave(): void {
    for (const link of links.values()) link.leave();
    device?.destroy();
    device = undefined;
    gpu = undefined;
  },
};

function takeWishes(): Requests {
  const now = wishes;
  wishes = { stop: now.stop, save: false, sample: false };
  return now;
}

/** Tells the peers who failed, then the page. An error of our own is told as ours. */
function fail(error: unknown, rank: number, mesh: Mesh | undefined, tell: (event: RankEvent) => void): void {
  const known = error instanceof TabmeshError ? error : new InternalError(error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error));
  const peer = known instanceof PeerError ? known : new PeerError(rank, 'crashed', known.message.slice(0, 300));
  mesh?.abort(peer);
  tell({ kind: 'failed', name: known.name, message: known.message, ...(known instanceof PeerError ? { culprit: known.culprit, evidence: known.evidence } : {}) });
}

function report(link: Link): { peer: number; kind: string; roundTripMs: number; sent: number; received: number } {
  const { payloadSent, payloadReceived, roundTripMs } = link.stats;
  return { peer: link.peer, kind: link.kind, roundTripMs, sent: payloadSent, received: payloadReceived };
}

function wireOf(lane: LaneHandle): Wire {
  return lane.kind === 'channel' ? channelWire(lane.channel, 'webrtc worker') : messagePortWire(lane.port, lane.via);
}

/** A port is open when it arrives: the page relays only open channels. */
function opened(lane: LaneHandle): Promise<void> {
  if (lane.kind === 'port' || lane.channel.readyState === 'open') return Promise.resolve();
  const { channel } = lane;
  return new Promise((resolve, reject) => {
    channel.addEventListener('open', () => resolve(), { once: true });
    channel.addEventListener('close', () => reject(new ConfigError('link', 'the data channel closed before it opened')), { once: true });
  });
}

expose(api);
