// The peers in Node on Dawn; on WebAssembly they are compared in a browser. They expect a browser's globals
// (navigator.gpu, GPUBufferUsage, ...), tfjs also `require`, jax-js iterator methods that came with Node 22; this gives
// them to the process for good. tfjs is loaded from its ES modules, by Vite or within the built command line: the
// packages' builds for Node leave the gradients out.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { globals } from 'webgpu';
import { NoDeviceError } from '../../base/errors.ts';
import { nodeGpu } from '../../device/node-gpu.ts';
import type { Loaders } from '../../bench/problem.ts';
import type { Jax } from '../../bench/peers/jax-js.ts';
import type { TensorFlow } from '../../bench/peers/tfjs.ts';

async function giveGlobals(): Promise<void> {
  Object.assign(globalThis, globals, { require: createRequire(import.meta.url) });
  Object.defineProperty(globalThis, 'navigator', {
    configurable: true,
    value: { gpu: await nodeGpu(), userAgent: 'Node' },
  });
}

let tensorFlow: Promise<TensorFlow> | undefined;

/** Once per process: its kernels register in a global table. */
export function loadTensorFlow(): Promise<TensorFlow> {
  return (tensorFlow ??= importTensorFlow());
}

async function importTensorFlow(): Promise<TensorFlow> {
  await giveGlobals();
  if (import.meta.env.PROD) return (await import('../../bench/load/tfjs.ts')).loadTensorFlow();
  const { createServer } = await import('vite');
  const loader = await createServer({
    root: fileURLToPath(new URL('../../../', import.meta.url)),
    configFile: false,
    envFile: false,
    publicDir: false,
    appType: 'custom',
    logLevel: 'error',
    server: { middlewareMode: true, hmr: false, ws: false, watch: null },
    optimizeDeps: { noDiscovery: true, include: [] },
    ssr: { noExternal: [/^@tensorflow\//], resolve: { mainFields: ['module'] } },
  });
  try {
    const module = (await loader.ssrLoadModule('/src/bench/load/tfjs.ts')) as { loadTensorFlow(): Promise<TensorFlow> };
    return await module.loadTensorFlow();
  } finally {
    await loader.close();
  }
}

async function loadJax(): Promise<Jax> {
  await giveGlobals();
  giveIteratorMethods();
  return import('@jax-js/jax');
}

/** The methods of iterators (ES2025) that jax-js calls, on every built-in iterator. */
function giveIteratorMethods(): void {
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as Record<string, unknown>;
  const methods: Record<string, (this: Iterable<unknown>, ...given: never[]) => unknown> = {
    *map(this: Iterable<unknown>, f: (x: unknown, i: number) => unknown) {
      let i = 0;
      for (const x of this) yield f(x, i++);
    },
    *filter(this: Iterable<unknown>, f: (x: unknown, i: number) => boolean) {
      let i = 0;
      for (const x of this) if (f(x, i++)) yield x;
    },
    *flatMap(this: Iterable<unknown>, f: (x: unknown, i: number) => Iterable<unknown>) {
      let i = 0;
      for (const x of this) yield* f(x, i++);
    },
    *take(this: Iterable<unknown>, count: number) {
      let i = 0;
      if (count > 0)
        for (const x of this) {
          yield x;
          if (++i >= count) return;
        }
    },
    *drop(this: Iterable<unknown>, count: number) {
      let i = 0;
      for (const x of this) if (i++ >= count) yield x;
    },
    toArray() {
      return [...this];
    },
    forEach(this: Iterable<unknown>, f: (x: unknown, i: number) => void) {
      let i = 0;
      for (const x of this) f(x, i++);
    },
    some(this: Iterable<unknown>, f: (x: unknown) => boolean) {
      for (const x of this) if (f(x)) return true;
      return false;
    },
    every(this: Iterable<unknown>, f: (x: unknown) => boolean) {
      for (const x of this) if (!f(x)) return false;
      return true;
    },
    find(this: Iterable<unknown>, f: (x: unknown) => boolean) {
      for (const x of this) if (f(x)) return x;
      return undefined;
    },
    reduce(this: Iterable<unknown>, f: (sum: unknown, x: unknown) => unknown, ...first: unknown[]) {
      return [...this].reduce(f, ...(first as [unknown]));
    },
  };
  for (const [name, value] of Object.entries(methods))
    if (!(name in prototype)) Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
}

/** How the peers load in this process. */
export const nodeLoaders: Loaders = {
  tfjs: loadTensorFlow,
  'jax-js': loadJax,
  'onnxruntime-web': () =>
    Promise.reject(new NoDeviceError('onnxruntime-web has no WebGPU in Node; use --backend chromium')),
};
