// The GPU that a loaded library computes on; undefined on WebAssembly.

import type { Jax } from '../peers/jax-js.ts';
import type { TensorFlow } from '../peers/tfjs.ts';

export function gpuOfTensorFlow(tf: TensorFlow): GPUDevice | undefined {
  return tf.getBackend() === 'webgpu' ? (tf.backend() as unknown as { readonly device: GPUDevice }).device : undefined;
}

export function gpuOfJax(jax: Jax): GPUDevice | undefined {
  return jax.defaultDevice() === 'webgpu' ? jax.getWebGPUDevice() : undefined;
}
