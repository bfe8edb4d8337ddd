// The worker of the bench page: opens the GPU or WebAssembly, runs what it is asked for, and posts results as they
// come, so that a stop or a lost GPU costs nothing that was measured. One request at a time.

import { AbortedError, DeviceLostError, InternalError, NoDeviceError, TabmeshError } from '../../base/errors.ts';
import { benchCases } from '../../bench/contract-cases.ts';
import { describeAdapter } from '../../bench/bench-report.ts';
import { measureCeilings } from '../../bench/roofline.ts';
import { PEERS } from '../../bench/load/peers.ts';
import { benchWorkloads, WORKLOADS } from '../../bench/run.ts';
import { realWorld } from '../../base/world.ts';
import { coarseWaitMs } from '../../device/tune/wait-step.ts';
import { deviceOf, openGpu } from '../../device/webgpu.ts';
import type { GpuContext } from '../../device/webgpu.ts';
import type { Device } from '../../device/device.ts';
import { createWasmDevice } from '../../device/wasm.ts';
import { browserQualifier } from '../../../workers/qualification.ts';
import { openWasmThreads } from '../../../workers/wasm-device.ts';
import { catalogue, shapesIn } from './catalogue.ts';
import type { BenchRequest, FromWorker, ToWorker, TuneRequest } from './protocol.ts';
import { tuneShapes } from './tune-shapes.ts';

let stopped = false;
const tell = (message: FromWorker): void => postMessage(message);
const checkpoint = (): void => {
  if (stopped) throw new AbortedError();
};

addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'stop') stopped = true;
  else void run(data);
});
tell({ kind: 'catalogue', catalogue });
void lookForGpu();
void lookForWasm();

/** Which adapter there is; the device is given back until it is needed. */
async function lookForGpu(): Promise<void> {
  try {
    const { adapter, device } = await openGpu(navigator.gpu);
    tell({ kind: 'adapter', backend: 'webgpu', adapter: describeAdapter(adapter), software: adapter.software });
    device.destroy();
  } catch (error) {
    tell({
      kind: 'no-device',
      backend: 'webgpu',
      text:
        error instanceof NoDeviceError
          ? error.message
          : `device: WebGPU does not start here (${sentence(error)}); reload the page, or restart the browser`,
    });
  }
}

async function lookForWasm(): Promise<void> {
  try {
    const device = await createWasmDevice();
    tellWasm(device);
    device.destroy();
  } catch (error) {
    tell({ kind: 'no-device', backend: 'wasm', text: sentence(error) });
  }
}

function tellWasm({ adapter }: Device): void {
  tell({ kind: 'adapter', backend: 'wasm', adapter: describeAdapter(adapter), software: adapter.software });
}

async function run(asked: Exclude<ToWorker, { kind: 'stop' }>): Promise<void> {
  stopped = false;
  let context: GpuContext | undefined;
  try {
    if (asked.kind === 'bench' && asked.request.backend === 'wasm') await benchWasm(asked.request);
    else {
      context = await openGpu(navigator.gpu);
      const opened = context;
      await unlessLost(opened, asked.kind === 'bench' ? benchGpu(asked.request, opened) : tune(asked.request, opened));
    }
    tell({ kind: 'done' });
  } catch (error) {
    const what = error instanceof AbortedError ? 'stopped' : error instanceof DeviceLostError ? 'lost' : 'error';
    tell({ kind: 'failed', what, text: error instanceof DeviceLostError ? error.reason : sentence(error) });
  } finally {
    context?.device.destroy();
  }
}

/** Some calls never settle after a loss, so it also wins a race. */
async function unlessLost({ lost }: Pick<Device, 'lost'>, work: Promise<void>): Promise<void> {
  await Promise.race([
    work,
    lost.then((error) => {
      throw error;
    }),
  ]);
}

async function benchWasm(request: BenchRequest): Promise<void> {
  const device = await openWasmThreads(request.threads);
  try {
    tellWasm(device);
    await unlessLost(device, bench(request, device));
  } finally {
    device.destroy();
  }
}

async function benchGpu(request: BenchRequest, context: GpuContext): Promise<void> {
  const { tune: seconds } = request;
  const device = deviceOf(context, seconds > 0 ? { qualifier: await browserQualifier(seconds, false) } : {});
  const coarseMs = await coarseWaitMs(device, realWorld);
  if (coarseMs !== undefined) {
    const text = `this browser answers every wait for the GPU after ${Math.round(coarseMs)} ms at the earliest, so times say nothing about a kernel; right or wrong does`;
    tell({ kind: 'note', text });
  }
  await bench(request, device);
}

async function bench({ workloads: names, peers, cases, scope, rounds }: BenchRequest, device: Device): Promise<void> {
  const workloads = WORKLOADS.filter(({ name }) => names.includes(name));
  const shapes = workloads.reduce((sum, workload) => sum + shapesIn(workload, scope), 0);
  const total = shapes + cases.length + (shapes ? 1 : 0);
  let done = 0;
  const onStatus = (text: string): void => tell({ kind: 'status', text, done, total });
  if (shapes) {
    onStatus('the ceilings of the adapter: memory bandwidth and multiply-adds');
    const ceilings = await measureCeilings(device, checkpoint);
    tell({ kind: 'ceilings', ceilings });
    done++;
    await benchWorkloads({
      device,
      workloads,
      scope,
      rounds,
      ceilings,
      peers: PEERS.filter(({ library }) => peers.includes(library)),
      checkpoint,
      onStatus,
      onResults: (results, missing) => {
        done++;
        tell({ kind: 'results', results, missing });
      },
    });
  }
  for (const name of cases) {
    checkpoint();
    onStatus(`all kernels: ${name}`);
    const { results } = await benchCases({ device, only: name, onStatus: () => {}, checkpoint });
    done++;
    tell({ kind: 'cases', results });
  }
}

async function tune(request: TuneRequest, context: GpuContext): Promise<void> {
  await tuneShapes({
    context,
    request,
    checkpoint,
    onStatus: (text, done, total) => tell({ kind: 'status', text, done, total }),
    onDecision: (decision) => tell({ kind: 'decision', decision }),
    onNote: (text) => tell({ kind: 'note', text }),
  });
}

function sentence(error: unknown): string {
  if (error instanceof TabmeshError && !(error instanceof InternalError)) return error.message;
  console.error(error);
  return error instanceof Error ? error.message : String(error);
}
