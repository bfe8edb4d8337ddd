// The pages: index.html (training), bench.html (kernels) and collectives.html (collectives between tabs). The build is a folder of static files that works under any path.
// The dev and the preview server also carry the MQTT broker, so that tabs of several machines meet without another program.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import { brokerPlugin } from './src/cli/broker-plugin.ts';
import { mobyDickPlugin } from './src/cli/moby-dick-plugin.ts';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Bundled before the first page asks: a dependency found later would reload pages (and running tests) once. */
export const BROWSER_DEPENDENCIES = ['comlink', 'lit', 'lit/decorators.js', 'mqtt', 'simple-peer/simplepeer.min.js', 'uplot', 'uqr'];

/** The libraries that the bench pages compare with, for a page that asks for them. onnxruntime-web finds its wasm beside its own file, so it stays where it is. */
const PEERS = ['@jax-js/jax', '@tensorflow/tfjs-core', '@tensorflow/tfjs-core/dist/register_all_gradients', '@tensorflow/tfjs-backend-webgpu', '@trystero-p2p/core', 'peerjs'];

export default defineConfig({
  base: './',
  plugins: [brokerPlugin(), mobyDickPlugin()],
  // Errors are told by the name of their class.
  worker: { format: 'es', rolldownOptions: { output: { keepNames: true } } },
  optimizeDeps: { include: [...BROWSER_DEPENDENCIES, ...PEERS], exclude: ['onnxruntime-web'] },
  build: {
    target: 'esnext',
    rolldownOptions: { input: ['index.html', 'bench.html', 'collectives.html'].map(path).filter((page) => existsSync(page)), output: { keepNames: true } },
  },
});
