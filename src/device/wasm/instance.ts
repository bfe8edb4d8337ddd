// One instance of the compiled kernels: its memory, with what the kernels keep at its start, and their functions.

import type { WasmBuild, WasmFunction } from './module.ts';
import { PAGE_BYTES } from './heap.ts';

// The start of the memory: constants of the compiler, where threads meet, the scratch memory of all, then of each.
const MEETING_AT = 1024;
const SHARED_AT = 4096;
/** KC x NC floats of a packed matrix, and room. See shaders/matmul/matmul.as.ts. */
const SHARED_BYTES = 2 ** 20 + 65536;
/** Of a thread. */
const SCRATCH_BYTES = 2 ** 19;

export interface WasmInstance {
  readonly memory: WebAssembly.Memory;
  /** By the kernel's name. */
  readonly kernels: Readonly<Record<string, WasmFunction | undefined>>;
  /** What lies before is the kernels' own. */
  readonly heapStart: number;
}

export async function openInstance({ module }: WasmBuild): Promise<WasmInstance> {
  const heapStart = SHARED_AT + SHARED_BYTES + SCRATCH_BYTES;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(heapStart / PAGE_BYTES) + 16 });
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  const { placeThread, ...kernels } = exports as Record<string, WasmFunction>;
  placeThread!(MEETING_AT, SHARED_AT + SHARED_BYTES, SHARED_AT);
  return { memory, kernels, heapStart };
}
