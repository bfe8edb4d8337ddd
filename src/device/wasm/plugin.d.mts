import type { Plugin } from 'vite';

export const RESERVED_BYTES: number;
export function kernelSources(root?: string): Map<string, string>;
export function compileKernels(
  build: 'plain' | 'relaxed' | 'plain-shared' | 'relaxed-shared',
  root?: string,
  sources?: ReadonlyMap<string, string>,
): Promise<Uint8Array<ArrayBuffer>>;
export function wasmKernels(root?: string): Plugin;
