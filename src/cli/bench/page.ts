// The page's side of chromium.ts: opens the browser's GPU, or WebAssembly, and runs a bench on it. With several threads
// a worker does so, because they wait for each other, which a page may not.

import { TabmeshError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import type { Device } from '../../device/device.ts';
import { Qualifier } from '../../device/tune/qualifier.ts';
import { createWasmDevice } from '../../device/wasm.ts';
import { createWebGpuDevice } from '../../device/webgpu.ts';
import { stepPeers } from '../../bench/gpt2/step-peers.ts';
import { PEERS } from '../../bench/load/peers.ts';
import type { PeerBackend } from '../../bench/problem.ts';
import { benches } from './work.ts';
import type { Answers, Requests } from './work.ts';
import type { FromBenchWorker, WorkerBench } from './worker.ts';

/**
 * `textUrl`: where the page finds Moby Dick. `threads`: those of WebAssembly. `tuneMs`: time to measure our kernel
 * variants of WebGPU; null leaves the defaults, unchecked.
 */
export async function bench<K extends keyof Requests>(
  name: K,
  request: Requests[K],
  textUrl: string,
  tuneMs: number | null,
  on: PeerBackend,
  threads: number,
  onStatus: (text: string) => void,
): Promise<Answers[K]> {
  if (threads > 1) return benchInWorker({ name, request, textUrl, threads }, onStatus);
  const device = await (on === 'wasm' ? createWasmDevice() : openWebGpu(tuneMs));
  try {
    return await benches[name](request, {
      device,
      others: { loaders: {}, workloads: PEERS, step: stepPeers },
      text: async () => (await fetch(textUrl)).text(),
      onStatus,
    });
  } finally {
    device.destroy();
  }
}

function benchInWorker<K extends keyof Requests>(
  asked: WorkerBench<K>,
  onStatus: (text: string) => void,
): Promise<Answers[K]> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  return new Promise<Answers[K]>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<FromBenchWorker>) => {
      if (data.kind === 'status') onStatus(data.text);
      else if (data.kind === 'measured') resolve(data.measured as Answers[K]);
      else reject(new TabmeshError(data.text));
    };
    worker.onerror = ({ message }) => reject(new TabmeshError(message || 'the worker of the bench did not load'));
    worker.postMessage(asked);
  }).finally(() => worker.terminate());
}

function openWebGpu(tuneMs: number | null): Promise<Device> {
  return createWebGpuDevice(
    navigator.gpu,
    tuneMs === null ? {} : { qualifier: new Qualifier({ world: realWorld, version: navigator.userAgent, tuneMs }) },
  );
}
