// The page's side of chromium.ts: opens the browser's GPU, or WebAssembly with one thread, and runs a bench on it.

import { realWorld } from '../../base/world.ts';
import type { Device } from '../../device/device.ts';
import { Qualifier } from '../../device/tune/qualifier.ts';
import { createWasmDevice } from '../../device/wasm.ts';
import { createWebGpuDevice } from '../../device/webgpu.ts';
import type { PeerBackend } from '../../bench/problem.ts';
import { benches } from './work.ts';
import type { Answers, Requests } from './work.ts';

/**
 * `textUrl`: where the page finds Moby Dick. `tuneMs`: time to measure our kernel variants of WebGPU; null leaves the
 * defaults, unchecked.
 */
export async function bench<K extends keyof Requests>(
  name: K,
  request: Requests[K],
  textUrl: string,
  tuneMs: number | null,
  on: PeerBackend,
  onStatus: (text: string) => void,
): Promise<Answers[K]> {
  const device = await (on === 'wasm' ? createWasmDevice() : openWebGpu(tuneMs));
  try {
    return await benches[name](request, {
      device,
      loaders: {},
      text: async () => (await fetch(textUrl)).text(),
      onStatus,
    });
  } finally {
    device.destroy();
  }
}

function openWebGpu(tuneMs: number | null): Promise<Device> {
  return createWebGpuDevice(
    navigator.gpu,
    tuneMs === null ? {} : { qualifier: new Qualifier({ world: realWorld, version: navigator.userAgent, tuneMs }) },
  );
}
