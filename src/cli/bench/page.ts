// The page's side of chromium.ts: opens the browser's GPU and runs a bench on it.

import { createWebGpuDevice } from '../../device/webgpu.ts';
import { benches } from './work.ts';
import type { Answers, Requests } from './work.ts';

/** `textUrl`: where the page finds Moby Dick. */
export async function bench<K extends keyof Requests>(name: K, request: Requests[K], textUrl: string, onStatus: (text: string) => void): Promise<Answers[K]> {
  const device = await createWebGpuDevice(navigator.gpu);
  try {
    return await benches[name](request, { device, loaders: {}, text: async () => (await fetch(textUrl)).text(), onStatus });
  } finally {
    device.destroy();
  }
}
