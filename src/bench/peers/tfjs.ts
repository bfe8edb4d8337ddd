// TensorFlow.js on its WebGPU backend, written as its users would: composed ops, gradients by tf.grads, tf.train.adam. A run ends when the queue is
// done: the open compute pass must be ended before the queue is submitted, or the commands are invalid and look a thousand times as fast.

import type * as tfjs from '@tensorflow/tfjs-core';
import { NoDeviceError } from '../../base/errors.ts';
import type { TypedArray } from '../../base/shape.ts';
import { meterMemory } from '../memory-meter.ts';
import type { Dims, Loaders, Peer, PeerWorkload, Problem, Runner } from '../problem.ts';

/** tfjs-core with gradients and the backend `webgpu` registered and chosen. */
export type TensorFlow = typeof tfjs;
type Tensor = tfjs.Tensor;
type Named = Readonly<Record<string, Tensor>>;
type Compute = (tf: TensorFlow, inputs: Named, dims: Dims) => Record<string, Tensor>;

interface Backend { readonly device: GPUDevice; endComputePassEncoder(): void; submitQueue(): void }

/** Loads it unless the caller knows better; throws NoDeviceError where its WebGPU backend does not start. */
export async function openTensorFlow(loaders: Loaders): Promise<TensorFlow> {
  const tf = await (loaders['tfjs']?.() as Promise<TensorFlow> | undefined ?? import('../load/tfjs.ts').then((module) => module.loadTensorFlow()));
  if (tf.getBackend() !== 'webgpu') throw new NoDeviceError('tfjs: its backend webgpu does not start here');
  return tf;
}

async function finish(tf: TensorFlow): Promise<void> {
  const backend = tf.backend() as unknown as Backend;
  backend.endComputePassEncoder();
  backend.submitQueue();
  await backend.device.queue.onSubmittedWorkDone();
}

function upload(tf: TensorFlow, { inputs }: Problem): Named {
  return Object.fromEntries(Object.entries(inputs).map(([name, { data, shape }]) => [name, tf.tensor(data, [...shape], data instanceof Int32Array ? 'int32' : 'float32')]));
}

function runnerOf(tf: TensorFlow, problem: Problem, compute: Compute): Runner {
  const meter = meterMemory((tf.backend() as unknown as Backend).device);
  const inputs = upload(tf, problem);
  let outputs: Record<string, Tensor> = {};
  const drop = (): void => { for (const tensor of Object.values(outputs)) tensor.dispose(); outputs = {}; };
  return {
    get peakBytes() { return meter.peakBytes; },
    async run(times) {
      for (let i = 0; i < times; i++) {
        drop();
        outputs = tf.tidy(() => compute(tf, inputs, problem.dims));
      }
      await finish(tf);
    },
    async read() {
      const entries = await Promise.all(Object.entries(outputs).map(async ([name, tensor]) => [name, await tensor.data()] as const));
      return Object.fromEntries(entries) as Record<string, TypedArray>;
    },
    dispose() {
      drop();
      for (const tensor of Object.values(inputs)) tensor.dispose();
      meter.stop();
    },
  };
}

const computes: Readonly<Record<string, Compute>> = {
  matmul: (tf, { a, b }) => ({ out: tf.matMul(a, b) }),
};

export const peer: Peer = {
  library: 'tfjs',
  async open(loaders) {
    const tf = await openTensorFlow(loaders);
    const composed = Object.entries(computes).map(([name, compute]): [string, PeerWorkload] => [name, async (problem) => runnerOf(tf, problem, compute)]);
    return { workloads: Object.fromEntries(composed) };
  },
};
