// TensorFlow.js with gradients and its WebGPU backend; loaded only when it is compared with. A bundler that starts at
// the core's entry drops the gradients, so they are named.

import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/register_all_gradients';
import '@tensorflow/tfjs-backend-webgpu';

export async function loadTensorFlow(): Promise<typeof tf> {
  await tf.setBackend('webgpu');
  return tf;
}
