// What computes unless somebody says: a GPU, else WebAssembly, else an emulated GPU. WebAssembly is many times as fast
// as an emulated GPU on the same processor (docs/figures.md); a GPU is used without a measurement.

import { isSoftware } from '../webgpu/context.ts';
import { takesKernels } from './module.ts';

/** `gpu`: navigator.gpu, or its like in Node. Never rejects: what is chosen says on opening what is missing. */
export async function chooseDevice(gpu: GPU | undefined): Promise<'webgpu' | 'wasm'> {
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  if (adapter && !isSoftware(adapter.info)) return 'webgpu';
  return takesKernels() ? 'wasm' : 'webgpu';
}
