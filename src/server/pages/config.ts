// How the pages are built, for `vite`, `vite build` and `ensurePages`: index.html (training), bench.html (kernels),
// collectives.html (collectives between tabs) and driven.html (empty; for programs). The build is a folder of static
// files that works under any path.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { UserConfig } from 'vite';
import { mobyDickPlugin } from './moby-dick-plugin.ts';

/** Bundled before the first page asks: a dependency found later would reload pages (and running tests) once. */
export const BROWSER_DEPENDENCIES = [
  '@huggingface/tokenizers',
  '@noble/hashes/sha2.js',
  '@noble/hashes/utils.js',
  'comlink',
  'lit',
  'lit/decorators.js',
  'mqtt',
  'simple-peer/simplepeer.min.js',
  'uplot',
  'uqr',
];

/**
 * The libraries that the bench pages compare with, for a page that asks for them. onnxruntime-web finds its wasm beside
 * its own file, so it stays where it is.
 */
const PEERS = [
  '@jax-js/jax',
  '@tensorflow/tfjs-core',
  '@tensorflow/tfjs-core/dist/register_all_gradients',
  '@tensorflow/tfjs-backend-webgpu',
  '@trystero-p2p/core',
  'peerjs',
];

const PAGES = ['index.html', 'bench.html', 'collectives.html', 'driven.html'];

/** @param root the folder of the pages. */
export function pagesConfig(root: string): UserConfig {
  return {
    root,
    base: './',
    publicDir: false,
    plugins: [mobyDickPlugin()],
    worker: { format: 'es' },
    optimizeDeps: { include: [...BROWSER_DEPENDENCIES, ...PEERS], exclude: ['onnxruntime-web'] },
    build: {
      target: 'esnext',
      // What the licences of the libraries within ask for.
      license: { fileName: 'THIRD-PARTY.md' },
      rolldownOptions: { input: PAGES.map((page) => join(root, page)).filter((page) => existsSync(page)) },
    },
  };
}
