// The compiled kernels: the build that this engine takes, compiled once per thread and build.

import { NoDeviceError } from '../../base/errors.ts';

/** What a launch calls: addresses of the bindings, params, the part of the work and the number of parts. */
export type WasmFunction = (...args: number[]) => void;

export interface WasmBuild {
  readonly module: WebAssembly.Module;
  /** It has multiply-adds that may round once. */
  readonly relaxed: boolean;
}

const LOADERS = {
  relaxed: () => import('virtual:wasm-kernels/relaxed'),
  plain: () => import('virtual:wasm-kernels/plain'),
  'relaxed-shared': () => import('virtual:wasm-kernels/relaxed-shared'),
  'plain-shared': () => import('virtual:wasm-kernels/plain-shared'),
};

const builds = new Map<boolean, Promise<WasmBuild>>();

/** With `shared`, for memory that threads share. Throws NoDeviceError where the engine has no vectors. */
export function wasmBuild(shared: boolean): Promise<WasmBuild> {
  let build = builds.get(shared);
  if (!build) {
    build = load(shared);
    builds.set(shared, build);
    build.catch(() => builds.delete(shared));
  }
  return build;
}

/** A module with what all builds need: a function with a fence of threads and a count of bits in a 128-bit vector. */
const PROBE = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  // One type, () -> v128, and one function of it.
  ...[1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0],
  // Its body: atomic.fence, i32.const 0, i8x16.splat, i8x16.popcnt, end.
  ...[10, 13, 1, 11, 0, 0xfe, 3, 0, 0x41, 0, 0xfd, 15, 0xfd, 98, 11],
);

/** Whether this engine takes one of the builds; nothing is loaded, or compiled, which a page may not be allowed to. */
export function takesKernels(): boolean {
  return typeof WebAssembly !== 'undefined' && WebAssembly.validate(PROBE);
}

/** The best build that this engine takes. */
async function load(shared: boolean): Promise<WasmBuild> {
  if (typeof WebAssembly === 'undefined')
    throw new NoDeviceError('device: this browser has no WebAssembly; use another backend');
  for (const relaxed of [true, false]) {
    const { default: encoded } = await LOADERS[`${relaxed ? 'relaxed' : 'plain'}${shared ? '-shared' : ''}` as const]();
    const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
    if (WebAssembly.validate(bytes)) return { module: await WebAssembly.compile(bytes), relaxed };
  }
  throw new NoDeviceError(
    'device: WebAssembly has no 128-bit SIMD here, which the kernels need; use another backend or a newer browser',
  );
}
