// A thread of the WebAssembly device: the rank's worker starts it, says once what it needs, and calls it through shared
// memory from then on. Nothing else reaches it, because it waits there.

import { runThread } from '../src/device/wasm/thread.ts';
import type { ThreadSetup } from '../src/device/wasm/thread.ts';

addEventListener('message', ({ data }: MessageEvent<ThreadSetup>) => {
  runThread(data, () => postMessage('ready'));
  close();
});
