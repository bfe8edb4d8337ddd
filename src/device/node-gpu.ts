// WebGPU in Node: Dawn through the `webgpu` package. The Vulkan driver is whatever VK_ICD_FILENAMES names when this is
// first called.

import { NoDeviceError } from '../base/errors.ts';

let instance: Promise<GPU> | undefined;

/** The process-wide GPU of Node. Throws NoDeviceError when the native module cannot load. */
export function nodeGpu(): Promise<GPU> {
  instance ??= import('webgpu').then(
    (module) => module.create([]) as unknown as GPU,
    (error: unknown) => {
      const missing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
      throw new NoDeviceError(
        missing
          ? 'device: the npm package "webgpu" is not installed; install it beside tabmesh (npm install webgpu), or use --backend chromium or --backend cpu'
          : `device: the npm package "webgpu" does not load here (${String(error)}); use --backend chromium or --backend cpu`,
      );
    },
  );
  return instance;
}
