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

async function load(shared: boolean): Promise<WasmBuild> {
  const { bytes, relaxed } = await findBuild(shared);
  return { module: await WebAssembly.compile(bytes), relaxed };
}

/**
 * The best build that this engine takes; nothing is compiled, which a page may not be allowed to. Throws NoDeviceError
 * where there is none.
 */
export async function findBuild(shared: boolean): Promise<{ bytes: Uint8Array<ArrayBuffer>; relaxed: boolean }> {
  if (typeof WebAssembly === 'undefined')
    throw new NoDeviceError('device: this browser has no WebAssembly; use another backend');
  for (const relaxed of [true, false]) {
    const { default: encoded } = await LOADERS[`${relaxed ? 'relaxed' : 'plain'}${shared ? '-shared' : ''}` as const]();
    const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
    if (WebAssembly.validate(bytes)) return { bytes, relaxed };
  }
  throw new NoDeviceError(
    'device: WebAssembly has no 128-bit SIMD here, which the kernels need; use another backend or a newer browser',
  );
}
