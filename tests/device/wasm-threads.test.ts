// The WebAssembly device as the worker of a rank opens it: which share of the cores it takes, also where the browser
// refuses the locks by which ranks know of each other, and what becomes of a thread that does not start.

import { afterEach, expect, it, vi } from 'vitest';
import { openWasmDevice } from '../../workers/wasm-device.ts';

afterEach(() => vi.unstubAllGlobals());

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
