// WebAssembly in this process: Node's threads, and vectors with fused multiply-adds where Node knows them.

import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { realWorld } from '../../base/world.ts';
import type { Device } from '../../device/device.ts';
import { nodeGpu } from '../../device/node-gpu.ts';
import { createWasmDevice } from '../../device/wasm.ts';
import { chooseDevice } from '../../device/wasm/choose.ts';
import { spawnNodeThread } from './node-thread.ts';
import { useVulkan } from './vulkan.ts';

/** Node 20 has them behind a flag; later versions have no such flag. */
function allowFusedMultiplyAdd(): void {
  if (process.versions.node.startsWith('20.')) setFlagsFromString('--experimental-wasm-relaxed-simd');
}

/** With `threads`, one per core. */
export function openLocalWasm(threads: boolean): Promise<Device> {
  allowFusedMultiplyAdd();
  if (!threads) return createWasmDevice();
  return createWasmDevice({ threads: availableParallelism(), spawn: spawnNodeThread, world: realWorld });
}

/** `node` where this process has a GPU that is none of software, otherwise `wasm`. */
export async function chooseLocal(): Promise<'node' | 'wasm'> {
  useVulkan();
  // Without the package, or where it does not load, there is no GPU either.
  const gpu = await nodeGpu().catch(() => undefined);
  allowFusedMultiplyAdd();
  return (await chooseDevice(gpu)) === 'webgpu' ? 'node' : 'wasm';
}
