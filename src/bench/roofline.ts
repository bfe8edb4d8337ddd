// The two ceilings of an adapter, measured by kernels of our own: bandwidth by STREAM's four loops, arithmetic by
// chains of fused multiply-adds. The best of a few shapes of each kernel counts, since a ceiling is what can be
// reached. Source: Williams, Waterman, Patterson: Roofline, 2009.

import { realWorld } from '../base/world.ts';
import type { Device, DeviceBuffer, Launch, Range } from '../device/device.ts';
import type { Kernel, Params } from '../device/kernel.ts';
import { peakFma } from '../../shaders/roofline/peak-fma.ts';
import { stream } from '../../shaders/roofline/stream.ts';

export const STREAM_KINDS = ['copy', 'scale', 'add', 'triad'] as const;

export interface Ceilings {
  /** Bytes per second in 10^9, by STREAM's four loops. */
  readonly bandwidth: Readonly<Record<(typeof STREAM_KINDS)[number], number>>;
  /** Fused multiply-adds, two operations each, in 10^9 operations per second. */
  readonly peakGflops: number;
}

const BLOCK_MS = 40;
const BLOCKS = 3;
const MAX_LAUNCHES = 100;

/** Takes about two seconds. Needs 200 MB on a GPU, 50 MB on a software adapter. */
export async function measureCeilings(device: Device, checkpoint?: () => void): Promise<Ceilings> {
  const { software } = device.features;
  const N = software ? 2 ** 22 : 2 ** 24;
  const THREADS = software ? 2 ** 12 : 2 ** 20;
  const buffers = new Map<string, DeviceBuffer>();
  try {
    for (const name of ['a', 'b', 'out']) buffers.set(name, device.alloc(4 * N, 'activation', `stream ${name}`));
    const coefficients = device.alloc(32, 'activation', 'coefficients');
    buffers.set('coefficients', coefficients);
    device.write(coefficients, 0, Float32Array.of(0.9, 0.8, 0.7, 0.6, 0.1, 0.2, 0.3, 0.4));
    const best = async (kernel: Kernel, choices: readonly Params[]): Promise<number> => {
      let least = Infinity;
      for (const params of choices) {
        checkpoint?.();
        const sizes = kernel.sizes(params);
        const io = Object.fromEntries(
          Object.keys(kernel.bindings).map((name): [string, Range] => [
            name,
            { buffer: buffers.get(name)!, offset: 0, bytes: 4 * sizes[name] },
          ]),
        );
        least = Math.min(least, await bestMs(device, await device.prepare(kernel, params, io)));
      }
      return least;
    };
    const bandwidth = { copy: 0, scale: 0, add: 0, triad: 0 };
    for (const [KIND, name] of STREAM_KINDS.entries()) {
      const choices = [1, 4].map((QUADS) => ({ N, KIND, SCALE: 3, QUADS }));
      bandwidth[name] = stream.cost(choices[0]).bytes / (await best(stream, choices)) / 1e6;
    }
    let peakGflops = 0;
    for (const CHAINS of [4, 8, 12]) {
      const params = { THREADS, STEPS: 256, CHAINS };
      peakGflops = Math.max(peakGflops, peakFma.cost(params).flops / (await best(peakFma, [params])) / 1e6);
    }
    return { bandwidth, peakGflops };
  } finally {
    for (const buffer of buffers.values()) device.free(buffer);
  }
}

/** Milliseconds of a launch in the best of a few blocks. */
async function bestMs(device: Device, launch: Launch): Promise<number> {
  const block = async (count: number): Promise<number> => {
    const start = realWorld.now();
    await device.submit(Array.from({ length: count }, () => launch));
    await device.idle();
    return (realWorld.now() - start) / count;
  };
  await block(1);
  const count = Math.max(1, Math.min(MAX_LAUNCHES, Math.round(BLOCK_MS / (await block(1)))));
  let least = Infinity;
  for (let i = 0; i < BLOCKS; i++) least = Math.min(least, await block(count));
  return least;
}

/**
 * Achieved work over what the ceilings allow: min(peak, intensity x bandwidth). Data that stays in caches may pass 1.
 */
export function roofShare(
  { bandwidth, peakGflops }: Ceilings,
  { flops, bytes }: { readonly flops: number; readonly bytes: number },
  ms: number,
): number {
  const attainable = Math.min(peakGflops, (flops / bytes) * Math.max(...Object.values(bandwidth)));
  return flops / ms / 1e6 / attainable;
}
