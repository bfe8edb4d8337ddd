import type { Plugin } from 'vite';

export function kernelSources(root?: string): Map<string, string>;
export function compileKernels(
  build: 'plain' | 'relaxed' | 'plain-shared' | 'relaxed-shared',
  root?: string,
  sources?: ReadonlyMap<string, string>,
): Promise<Uint8Array<ArrayBuffer>>;
export function wasmKernels(root?: string): Plugin;
