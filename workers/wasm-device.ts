// The WebAssembly device of a rank in a browser, with the threads that are its share of the machine's cores. Ranks of
// one browser know of each other by a lock that each holds while it computes; the first to come has more threads than
// its share, and uses them as long as they help.

import { NoDeviceError } from '../src/base/errors.ts';
import { realWorld } from '../src/base/world.ts';
import type { Device } from '../src/device/device.ts';
import { createWasmDevice } from '../src/device/wasm.ts';
import type { Thread } from '../src/device/wasm/pool.ts';
import type { ThreadSetup } from '../src/device/wasm/thread.ts';
import { withResolvers } from '../src/transport/inbox.ts';
import { countTabLockHolders, holdTabLock } from '../src/transport/tab-lock.ts';

const LOCK = 'tabmesh cores';

/** `ranksHere`: ranks of this tab that compute side by side, this one included. */
export async function openWasmDevice(ranksHere: number): Promise<Device> {
  const share = await takeCores();
  const threads = Math.floor(navigator.hardwareConcurrency / Math.max(ranksHere, share.holders));
  try {
    const device = await createWasmDevice({ threads, spawn, world: realWorld });
    return {
      ...device,
      destroy() {
        device.destroy();
        share.release();
      },
    };
  } catch (error) {
    share.release();
    throw error;
  }
}

/** With exactly so many threads, for those who measure them. Throws NoDeviceError where there are fewer. */
export async function openWasmThreads(threads: number): Promise<Device> {
  const device = await createWasmDevice({ threads, spawn });
  const { threads: got } = device.adapter;
  if (got === threads) return device;
  device.destroy();
  throw new NoDeviceError(
    `device: expected ${threads} threads, got ${got}; threads need a page that is isolated (COOP and COEP), as those of \`tabmesh serve\` are`,
  );
}

/**
 * Counts the ranks of this browser that compute, this one included, and counts as one of them until it is released.
 * Where a page has no locks (insecure, of an opaque origin, or its storage refused) nobody knows of the others.
 */
async function takeCores(): Promise<{ readonly holders: number; readonly release: () => void }> {
  let release = (): void => {};
  try {
    release = await holdTabLock(LOCK, 'shared');
    return { holders: Math.max(1, await countTabLockHolders(LOCK)), release };
  } catch {
    release();
    return { holders: 1, release: () => {} };
  }
}

async function spawn(setup: ThreadSetup): Promise<Thread> {
  const worker = new Worker(new URL('./compute.ts', import.meta.url), { type: 'module' });
  const [ready, died] = [withResolvers<void>(), withResolvers<string>()];
  worker.onmessage = () => ready.resolve();
  worker.onerror = ({ message }) => {
    died.resolve(message || 'its script did not load');
    ready.reject(new Error(message || 'its script did not load'));
  };
  try {
    worker.postMessage(setup);
    await ready.promise;
  } catch (error) {
    worker.terminate();
    throw error;
  }
  return { died: died.promise, end: () => worker.terminate() };
}
