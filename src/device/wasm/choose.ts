// What computes unless somebody says: a GPU, else WebAssembly, else an emulated GPU. WebAssembly is many times as fast
// as an emulated GPU on the same processor (docs/figures.md); a GPU is used without a measurement.

import { NoDeviceError } from '../../base/errors.ts';
import { isSoftware } from '../webgpu/context.ts';
import { findBuild } from './module.ts';

/**
 * `gpu`: navigator.gpu, or its like in Node. What is chosen says on opening what is missing; rejects only where the
 * module does not load.
 */
export async function chooseDevice(gpu: GPU | undefined): Promise<'webgpu' | 'wasm'> {
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  if (adapter && !isSoftware(adapter.info)) return 'webgpu';
  try {
    await findBuild(false);
    return 'wasm';
  } catch (error) {
    if (error instanceof NoDeviceError) return 'webgpu';
    throw error;
  }
}
