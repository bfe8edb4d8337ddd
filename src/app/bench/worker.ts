// The worker of the bench page: opens the GPU, runs what it is asked for, and posts results as they come, so that a
// stop or a lost GPU costs nothing that was measured. One request at a time.

import { AbortedError, DeviceLostError, InternalError, NoDeviceError, TabmeshError } from '../../base/errors.ts';
import { benchCases } from '../../bench/contract-cases.ts';
import { describeAdapter } from '../../bench/bench-report.ts';
import { measureCeilings } from '../../bench/roofline.ts';
import { benchWorkloads, PEERS, WORKLOADS } from '../../bench/run.ts';
import { realWorld } from '../../base/world.ts';
import { coarseWaitMs } from '../../device/tune/wait-step.ts';
import { deviceOf, openGpu } from '../../device/webgpu.ts';
import type { GpuContext } from '../../device/webgpu.ts';
import { browserQualifier } from '../../../workers/qualification.ts';
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
void look();

/** Which adapter there is; the device is given back until it is needed. */
async function look(): Promise<void> {
  try {
    const { adapter, device } = await openGpu(navigator.gpu);
    tell({ kind: 'adapter', adapter: describeAdapter(adapter), software: adapter.software });
    device.destroy();
  } catch (error) {
    tell({
      kind: 'no-device',
      text:
        error instanceof NoDeviceError
          ? error.message
          : `device: WebGPU does not start here (${sentence(error)}); reload the page, or restart the browser`,
    });
  }
}

async function run(asked: Exclude<ToWorker, { kind: 'stop' }>): Promise<void> {
  stopped = false;
  let context: GpuContext | undefined;
  try {
    context = await openGpu(navigator.gpu);
    // Some calls never settle after a loss, so it also wins a race.
    const lost = context.lost.then((error) => {
      throw error;
    });
    await Promise.race([asked.kind === 'bench' ? bench(asked.request, context) : tune(asked.request, context), lost]);
    tell({ kind: 'done' });
  } catch (error) {
    const what = error instanceof AbortedError ? 'stopped' : error instanceof DeviceLostError ? 'lost' : 'error';
    tell({ kind: 'failed', what, text: error instanceof DeviceLostError ? error.reason : sentence(error) });
  } finally {
    context?.device.destroy();
  }
}

async function bench(
  { workloads: names, peers, cases, scope, rounds, tune: seconds }: BenchRequest,
  context: GpuContext,
): Promise<void> {
  const device = deviceOf(context, seconds > 0 ? { qualifier: await browserQualifier(seconds, false) } : {});
  const coarseMs = await coarseWaitMs(device, realWorld);
  if (coarseMs !== undefined) {
    const text = `this browser answers every wait for the GPU after ${Math.round(coarseMs)} ms at the earliest, so times say nothing about a kernel; right or wrong does`;
    tell({ kind: 'note', text });
  }
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
