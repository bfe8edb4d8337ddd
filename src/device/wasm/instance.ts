// The memory of a device, with what the kernels keep at its start, and the instance of the compiled kernels on the
// rank's own thread.

import { LimitError } from '../../base/errors.ts';
import { PAGE_BYTES } from './heap.ts';
import type { WasmBuild, WasmFunction } from './module.ts';

// The start of the memory: constants of the compiler, where threads meet, where they find what to call, the scratch
// memory of all, then that of each.
export const MEETING_AT = 1024;
/** `words` words, then the arguments of a call as doubles, `mostArguments` of them. */
export const MAILBOX = { at: 1536, words: 16, mostArguments: 56 } as const;
export const SHARED_AT = 4096;
/** KC x NC floats of a packed matrix, and room. See shaders/matmul/product.as.ts. */
const SHARED_BYTES = 2 ** 20 + 65536;
/** Of a thread. */
const SCRATCH_BYTES = 2 ** 19;
/** Three matrices of ThreadGain. */
const PROBE_BYTES = 2 ** 17;
const ROOM_PAGES = 16;
/** 4 GiB, all that addresses of 32 bits reach. A browser on a small device may not have as much. */
const MOST_PAGES = [65536, 32768, 16384, 8192];

export interface WasmInstance {
  readonly memory: WebAssembly.Memory;
  /** By the kernel's name. */
  readonly kernels: Readonly<Record<string, WasmFunction | undefined>>;
  /** Waits for `parts` threads; see shaders/wasm/threads.as.ts. */
  readonly meet: WasmFunction;
  /** Room to measure in. */
  readonly probeAt: number;
  /** What lies before is the kernels' own. */
  readonly heapStart: number;
}

/** Where thread `part` has its scratch memory. */
export function scratchAt(part: number): number {
  return SHARED_AT + SHARED_BYTES + part * SCRATCH_BYTES;
}

/** With `threads` above 1 the memory is shared, and `build` must be one for that. */
export async function openInstance({ module }: WasmBuild, threads: number): Promise<WasmInstance> {
  const probeAt = scratchAt(threads);
  const heapStart = probeAt + PROBE_BYTES;
  const memory = openMemory(Math.ceil(heapStart / PAGE_BYTES) + ROOM_PAGES, threads > 1);
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  const { meet, placeThread, tile: _, ...kernels } = exports as Record<string, WasmFunction>;
  placeThread!(MEETING_AT, scratchAt(0), SHARED_AT);
  return { memory, kernels, meet: meet!, probeAt, heapStart };
}

/** A shared memory must say at once how far it may grow. */
function openMemory(initial: number, shared: boolean): WebAssembly.Memory {
  if (!shared) return new WebAssembly.Memory({ initial });
  for (const maximum of MOST_PAGES) {
    try {
      return new WebAssembly.Memory({ initial, maximum, shared });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  throw new LimitError(
    `device: expected ${MOST_PAGES.at(-1)! * PAGE_BYTES} bytes of WebAssembly memory, got none; close other tabs`,
  );
}
