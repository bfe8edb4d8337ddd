// A thread of the WebAssembly device in Node: a worker that gets the function as text, so that it needs no file of its
// own, in a checkout or built.

import type { SpawnThread } from '../../device/wasm/pool.ts';
import { runThread } from '../../device/wasm/thread.ts';

/** See SpawnThread. */
export const spawnNodeThread: SpawnThread = async (setup) => {
  const { Worker } = await import('node:worker_threads');
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
    (${runThread.toString()})(workerData, () => parentPort.postMessage('ready'));`,
    { eval: true, workerData: setup },
  );
  // A thread that waits must not keep the process alive.
  worker.unref();
  const died = new Promise<string>((resolve) => {
    worker.once('error', (error) => resolve(String(error)));
    worker.once('exit', (code) => resolve(`it ended with code ${code}`));
  });
  await Promise.race([
    new Promise<void>((resolve) => {
      worker.once('message', () => resolve());
    }),
    died.then((why) => Promise.reject(new Error(why))),
  ]);
  return { died, end: () => void worker.terminate() };
};
