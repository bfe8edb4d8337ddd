// What a rank computes on unless somebody says, and the WebAssembly device as its worker opens it: which share of the
// cores it takes, also where the browser refuses the locks by which ranks know of each other, and what becomes of a
// thread that does not start.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { chooseDevice } from '../../src/device/wasm/choose.ts';
import { wasmBuild } from '../../src/device/wasm/module.ts';
import { openWasmDevice } from '../../workers/wasm-device.ts';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe('what computes unless somebody says', () => {
  const gpuOf = (adapter: () => Promise<unknown>): GPU => ({ requestAdapter: adapter }) as unknown as GPU;
  const infoOf = (info: object): object => ({ vendor: '', architecture: '', device: '', description: '', ...info });
  const gpus: readonly (readonly [string, GPU | undefined, 'webgpu' | 'wasm'])[] = [
    ['a GPU', gpuOf(async () => ({ info: infoOf({ vendor: 'nvidia' }) })), 'webgpu'],
    ['a GPU without a name', gpuOf(async () => ({ info: infoOf({}) })), 'webgpu'],
    ['SwiftShader', gpuOf(async () => ({ info: infoOf({ architecture: 'swiftshader' }) })), 'wasm'],
    ['a fallback adapter', gpuOf(async () => ({ info: infoOf({ isFallbackAdapter: true }) })), 'wasm'],
    ['no adapter', gpuOf(async () => null), 'wasm'],
    ['an adapter that fails', gpuOf(() => Promise.reject(new Error('the GPU process is gone'))), 'wasm'],
    ['no WebGPU', undefined, 'wasm'],
  ];

  it.each(gpus)('%s', async (_, gpu, chosen) => {
    expect(await chooseDevice(gpu)).toBe(chosen);
  });

  it.each(gpus)('%s, where WebAssembly has no vectors', async (_, gpu) => {
    vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    expect(await chooseDevice(gpu)).toBe('webgpu');
    // Who wants it all the same hears why there is none.
    await expect(wasmBuild(true)).rejects.toThrow(/no 128-bit SIMD here/);
  });

  it('is asked without loading a build, by a module with a vector', async () => {
    const validate = vi.spyOn(WebAssembly, 'validate');
    expect(await chooseDevice(undefined)).toBe('wasm');
    const [[probe]] = validate.mock.calls as unknown as [[Uint8Array<ArrayBuffer>]];
    expect(validate).toHaveBeenCalledTimes(1);
    expect(probe.length).toBeLessThan(64);
    // The engine reads it to its end, and finds a type, a function and its body.
    const { exports } = await WebAssembly.instantiate(await WebAssembly.compile(probe));
    expect(exports).toEqual({});
    for (let at = 0; at < probe.length; at++)
      expect(WebAssembly.validate(probe.slice(0, at)), `${at} bytes`).toBe(at === 8 || at === 15);
  });
});

/** Workers that cannot load their script, and the threads that were asked for and not ended. */
function workersThatDie() {
  let [asked, alive] = [0, 0];
  class DyingWorker {
    onerror: (event: { readonly message: string }) => void = () => {};
    constructor() {
      [asked, alive] = [asked + 1, alive + 1];
    }
    postMessage(): void {
      queueMicrotask(() => this.onerror({ message: '' }));
    }
    terminate(): void {
      alive--;
    }
  }
  vi.stubGlobal('Worker', DyingWorker);
  return { asked: () => asked, alive: () => alive };
}

const denied = (): Promise<never> => Promise.reject(new DOMException('denied', 'SecurityError'));

/** Locks of a browser in which `others` ranks compute already. */
function locks(others: number) {
  let held = others;
  return {
    held: () => held,
    request: async (_name: string, _options: unknown, hold: () => Promise<void>) => {
      held++;
      await hold();
      held--;
    },
    query: async () => ({ held: Array.from({ length: held }, () => ({ name: 'tabmesh cores' })) }),
  };
}

it.each([
  ['no locks', undefined, 8],
  ['refused locks', { request: denied, query: denied }, 8],
  ['locks that cannot be counted', { ...locks(3), query: denied }, 8],
  ['three other ranks', locks(3), 2],
])('has the threads that are its share: %s', async (_, found, threads) => {
  vi.stubGlobal('navigator', { hardwareConcurrency: 8, locks: found });
  const { asked } = workersThatDie();
  const device = await openWasmDevice(1);
  expect(asked()).toBe(threads - 1);
  device.destroy();
});

it('gives its share back with the device', async () => {
  const found = locks(1);
  vi.stubGlobal('navigator', { hardwareConcurrency: 8, locks: found });
  workersThatDie();
  const device = await openWasmDevice(1);
  expect(found.held()).toBe(2);
  device.destroy();
  await expect.poll(found.held).toBe(1);
});

it('ends the threads that do not start, and computes on its own', async () => {
  vi.stubGlobal('navigator', { hardwareConcurrency: 4 });
  const { asked, alive } = workersThatDie();
  const device = await openWasmDevice(1);
  expect([asked(), alive()]).toEqual([3, 0]);
  expect(device.adapter.threads).toBe(1);
  device.destroy();
});
