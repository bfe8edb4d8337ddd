// The page's side of chromium.ts: opens the browser's GPU and runs a bench on it.

import { realWorld } from '../../base/world.ts';
import { Qualifier } from '../../device/tune/qualifier.ts';
import { createWebGpuDevice } from '../../device/webgpu.ts';
import { benches } from './work.ts';
import type { Answers, Requests } from './work.ts';

/**
 * `textUrl`: where the page finds Moby Dick. `tuneMs`: time to measure our kernel variants; null leaves the defaults,
 * unchecked.
 */
export async function bench<K extends keyof Requests>(
  name: K,
  request: Requests[K],
  textUrl: string,
  tuneMs: number | null,
  onStatus: (text: string) => void,
): Promise<Answers[K]> {
  const device = await createWebGpuDevice(
    navigator.gpu,
    tuneMs === null ? {} : { qualifier: new Qualifier({ world: realWorld, version: navigator.userAgent, tuneMs }) },
  );
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
