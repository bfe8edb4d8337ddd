// TensorFlow.js with gradients and its WebAssembly backend; loaded only when it is compared with. It uses one thread.

import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/register_all_gradients';
import { getThreadsCount, setThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url';
import { TabmeshError } from '../../base/errors.ts';

/** Throws TabmeshError where it would use more than one thread. */
export async function loadTensorFlow(): Promise<typeof tf> {
  // It wants to know of all three builds. Where our device is there are vectors, and the bench has taken away what
  // threads need, so it asks for this one.
  setWasmPaths(
    Object.fromEntries(['', '-simd', '-threaded-simd'].map((build) => [`tfjs-backend-wasm${build}.wasm`, simd])),
  );
  setThreadsCount(1);
  await tf.setBackend('wasm');
  if (tf.getBackend() === 'wasm' && getThreadsCount() !== 1)
    throw new TabmeshError(`tfjs: expected one thread, it says that it uses ${getThreadsCount()}`);
  return tf;
}
