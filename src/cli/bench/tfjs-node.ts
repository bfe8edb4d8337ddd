// TensorFlow.js in Node on Dawn. It expects a browser's globals (navigator.gpu, GPUBufferUsage, ...) and `require`, which this gives to the process
// for good. Vite loads it from its ES modules: the packages' builds for Node leave the gradients out.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';
import { globals } from 'webgpu';
import { nodeGpu } from '../../device/node-gpu.ts';
import type { TensorFlow } from './tfjs-gpt2.ts';

export async function loadTensorFlow(): Promise<TensorFlow> {
  Object.assign(globalThis, globals, { require: createRequire(import.meta.url) });
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { gpu: await nodeGpu() } });
  const loader = await createServer({
    root: fileURLToPath(new URL('../../../', import.meta.url)), configFile: false, envFile: false, publicDir: false, appType: 'custom', logLevel: 'error',
    server: { middlewareMode: true, hmr: false, ws: false, watch: null }, optimizeDeps: { noDiscovery: true, include: [] },
    ssr: { noExternal: [/^@tensorflow\//], resolve: { mainFields: ['module'] } },
  });
  try {
    const module = await loader.ssrLoadModule('/src/cli/bench/tfjs-page.ts') as { loadTensorFlow(): Promise<TensorFlow> };
    return await module.loadTensorFlow();
  } finally {
    await loader.close();
  }
}
