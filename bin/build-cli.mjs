#!/usr/bin/env node
// Builds the command line for the packed package: build/cli (or the folder given), JavaScript with all libraries inside
// but those that are native or large (playwright-core, webgpu), so that an installed package needs no Vite. Each
// command is a chunk of its own. In this repository the sources run as they are.

import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { wasmKernels } from '../src/device/wasm/plugin.mjs';

// Vite's dev server, which prepack uses, leaves another behind.
process.env.NODE_ENV = 'production';
const root = fileURLToPath(new URL('..', import.meta.url));

await build({
  root,
  configFile: false,
  envDir: false,
  publicDir: false,
  mode: 'production',
  logLevel: 'warn',
  plugins: [wasmKernels()],
  // Vite builds the pages of a checkout, with the compiler of kernels, which an installed package never asks for.
  ssr: { target: 'node', noExternal: true, external: ['assemblyscript/asc', 'playwright-core', 'vite', 'webgpu'] },
  build: {
    ssr: 'src/cli/main.ts',
    outDir: resolve(process.argv[2] ?? 'build/cli'),
    emptyOutDir: true,
    target: 'node20',
    minify: false,
    license: { fileName: 'THIRD-PARTY.md' },
    rolldownOptions: { output: { entryFileNames: '[name].js', chunkFileNames: 'chunks/[name]-[hash].js' } },
  },
});
