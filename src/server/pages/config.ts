// How the pages are built, for `vite`, `vite build` and `ensurePages`: index.html (training), bench.html (kernels),
// collectives.html (collectives between tabs) and driven.html (empty; for programs). The build is a folder of static
// files that works under any path.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { UserConfig } from 'vite';
import { wasmKernels } from '../../device/wasm/plugin.mjs';
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

/** It finds its wasm beside its own file, so it stays where it is. */
const UNBUNDLED = 'onnxruntime-web';

/** Packages that `text`, a source file, loads; one whose types alone are named is none. */
export function packagesIn(text: string): string[] {
  const loads = /^\s*import '([^']+)'|^\s*(?:import|export) (?!type\b)[^;]*? from '([^']+)'|\bimport\(\s*'([^']+)'/gm;
  return [...text.matchAll(loads)]
    .map(([, alone, named, called]) => (alone ?? named ?? called)!)
    .filter((name) => !/^(\.|node:)/.test(name));
}

/** Packages of the libraries that the bench pages compare with, for a page that asks for them. */
export function benchPackages(root: string): string[] {
  const folder = join(root, 'src', 'bench');
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const names = files.flatMap((name) => packagesIn(readFileSync(join(folder, name), 'utf8')));
  // An address of a file (?url) is none of a module.
  return [...new Set(names)].filter((name) => !name.startsWith(UNBUNDLED) && !name.includes('?'));
}

const PAGES = ['index.html', 'bench.html', 'collectives.html', 'driven.html'];

/** @param root the folder of the pages. */
export function pagesConfig(root: string): UserConfig {
  return {
    root,
    base: './',
    publicDir: false,
    plugins: [mobyDickPlugin(), wasmKernels()],
    // Workers are bundled on their own.
    worker: { format: 'es', plugins: () => [wasmKernels()] },
    optimizeDeps: { include: [...BROWSER_DEPENDENCIES, ...benchPackages(root)], exclude: [UNBUNDLED] },
    build: {
      target: 'esnext',
      // What the licences of the libraries within ask for.
      license: { fileName: 'THIRD-PARTY.md' },
      rolldownOptions: { input: PAGES.map((page) => join(root, page)).filter((page) => existsSync(page)) },
    },
  };
}
