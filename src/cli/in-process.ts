// All ranks of a run in this process, over loopback: on Dawn (`node`) or on the references (`cpu`). The ranks share one
// GPUDevice and its compiled pipelines; each has its own Device view, parameters and links.

import { AbortedError, PeerError } from '../base/errors.ts';
import { worldSize } from '../base/axis.ts';
import { realWorld } from '../base/world.ts';
import { createLedger } from '../collectives/ledger.ts';
import type { LedgerBook } from '../collectives/ledger.ts';
import { createMesh } from '../collectives/mesh.ts';
import { createFlightRecorder } from '../collectives/record/flight-recorder.ts';
import { formatTimeline, mergeTimeline } from '../collectives/record/timeline.ts';
import { createCpuDevice } from '../device/cpu.ts';
import type { Device } from '../device/device.ts';
import { nodeGpu } from '../device/node-gpu.ts';
import { Qualifier } from '../device/tune/qualifier.ts';
import type { TuneStore } from '../device/tune/store.ts';
import { deviceOf, openGpu } from '../device/webgpu.ts';
import type { GpuContext } from '../device/webgpu.ts';
import { loopbackMesh } from '../transport/loopback.ts';
import { prepareRun } from '../train/prepare.ts';
import type { PreparedRun, RunFiles } from '../train/prepare.ts';
import { runRank } from '../train/run.ts';
import type { RunEvent, RunOptions } from '../train/run.ts';
import type { RunConfig } from '../train/run-config.ts';
import type { Requests } from '../train/step/requests.ts';
import { useVulkan } from './machine/vulkan.ts';
import { openLocalWasm } from './machine/wasm.ts';

export type LocalBackend = 'node' | 'wasm' | 'cpu';

export interface LocalRun {
  readonly backend: LocalBackend;
  readonly config: RunConfig;
  readonly files: RunFiles;
  /** Config and files as prepareRun reads them, where the caller has that already. */
  readonly prepared?: PreparedRun;
  readonly checkpoint?: Uint8Array<ArrayBuffer>;
  readonly wantGradients?: boolean;
  readonly wantModel?: boolean;
  /** Tokens of a sample; absent: as many as runRank says. */
  readonly sampleTokens?: number;
  readonly onEvent: (rank: number, event: RunEvent) => void;
  /** What a rank asks for, once a step. */
  requests?(rank: number): Requests;
  readonly signal?: AbortSignal;
  readonly stop?: RunOptions['stop'];
  /** What all ranks did last, when one has failed. */
  readonly onTimeline?: (text: string) => void;
  /** On WebAssembly: a thread per core, for each rank while it computes; absent: one. */
  readonly threads?: boolean;
  /** What is remembered about adapters; without it nothing is. */
  readonly tuneStore?: TuneStore;
}

/** Operations of each rank that a failure shows. */
const TOLD_RECORDS = 100;

let context: Promise<GpuContext> | undefined;

/**
 * A device of this process: `node` shares one GPUDevice among all callers. With `qualifier` (node only), it is checked
 * and tuned for what it runs. With `threads` (wasm only), as many as there are cores.
 */
export async function localDevice(
  backend: LocalBackend,
  qualifier?: Qualifier,
  reducedPrecision = false,
  threads = false,
): Promise<Device> {
  if (backend === 'cpu') return createCpuDevice();
  if (backend === 'wasm') return openLocalWasm(threads);
  context ??= (async () => {
    useVulkan();
    return openGpu(await nodeGpu());
  })();
  return deviceOf(await context, { qualifier, reducedPrecision });
}

/**
 * What a memory of this process's GPU belongs to, besides the adapter: the runtime and the driver's settings that
 * change code.
 */
export function nodeVersion(): string {
  const settings = ['VK_ICD_FILENAMES', 'GALLIVM_PERF', 'LP_NATIVE_VECTOR_WIDTH']
    .map((name) => process.env[name] ?? '')
    .join(' ');
  return `Dawn in Node ${process.versions.node} ${settings}`.trim();
}

/** Runs all ranks to the end. Resolves to each rank's ledger; rejects with the first error. */
export async function runInProcess(run: LocalRun): Promise<readonly LedgerBook[]> {
  const { backend, config, files, onEvent } = run;
  const prepared =
    run.prepared ?? prepareRun(config, { ...files, ...(run.checkpoint ? { checkpoint: run.checkpoint } : {}) });
  const size = worldSize(config.layout);
  // One thread runs every rank, so a long computation of one is no silence of another.
  const nodes = loopbackMesh(size, realWorld, { link: { silentMs: 1e9, heartbeatMs: 1e8 } });
  const ledgers = nodes.map(() => createLedger());
  const recorders = nodes.map(({ rank }) => createFlightRecorder(rank, realWorld));
  // One GPU, so one qualifier: the first rank measures, the others take its choices.
  const qualifier =
    config.tune === null
      ? undefined
      : new Qualifier({
          world: realWorld,
          version: nodeVersion(),
          tuneMs: config.tune * 1000,
          store: run.tuneStore,
          signal: AbortSignal.any([run.signal, run.stop?.signal].filter((signal) => signal !== undefined)),
        });
  let stopped: AbortedError | undefined;
  try {
    await Promise.all(
      nodes.map(async ({ rank, links }) => {
        const mesh = createMesh({
          layout: config.layout,
          rank,
          links,
          ledger: ledgers[rank],
          recorder: recorders[rank],
        });
        const device = await localDevice(backend, qualifier, config.precision === 'f16', run.threads);
        try {
          await runRank({
            device,
            mesh,
            ledger: ledgers[rank],
            world: realWorld,
            config,
            prepared,
            signal: run.signal,
            stop: run.stop,
            wantGradients: run.wantGradients,
            wantModel: run.wantModel,
            sampleTokens: run.sampleTokens,
            onEvent: (event) => onEvent(rank, event),
            ...(run.requests ? { requests: () => run.requests!(rank) } : {}),
          });
        } catch (error) {
          // The others only hear that this rank is gone.
          if (error instanceof AbortedError) stopped ??= error;
          mesh.abort(error instanceof PeerError ? error : new PeerError(rank, 'crashed', String(error)));
          throw error;
        } finally {
          device.destroy();
        }
      }),
    );
  } catch (error) {
    if (stopped) throw stopped;
    run.onTimeline?.(
      formatTimeline(
        mergeTimeline(recorders.map((recorder) => recorder.dump(String(error).slice(0, 300), TOLD_RECORDS))),
      ),
    );
    throw error;
  } finally {
    for (const node of nodes) node.leave();
  }
  return ledgers;
}
