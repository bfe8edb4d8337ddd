// TensorFlow.js on its backend webgpu or wasm, written as its users would: composed ops, gradients by tf.grads,
// tf.train.adam. On WebGPU a run ends when the queue is done: the open compute pass must be ended before the queue is
// submitted, or the commands are invalid and look a thousand times as fast. On WebAssembly an op is done as it returns.

import type * as tfjs from '@tensorflow/tfjs-core';
import { NoDeviceError } from '../../base/errors.ts';
import type { TypedArray } from '../../base/shape.ts';
import { runnerOfSteps, stepOf } from '../gpt2/step-problem.ts';
import { tfjsRunner } from '../gpt2/tfjs-gpt2.ts';
import { meterMemory } from '../memory-meter.ts';
import { gpuOfTensorFlow } from '../load/gpu.ts';
import type { Dims, Loaders, Peer, PeerBackend, PeerWorkload, Problem, Runner } from '../problem.ts';
import { ADAMW } from '../workloads/adamw.ts';

/** tfjs-core with gradients and a backend registered and chosen. */
export type TensorFlow = typeof tfjs;
type Tensor = tfjs.Tensor;
type Named = Readonly<Record<string, Tensor>>;
type Compute = (tf: TensorFlow, inputs: Named, dims: Dims) => Record<string, Tensor>;

interface WebGpuBackend {
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** Loads it unless the caller knows better; throws NoDeviceError where its backend does not start. */
export async function openTensorFlow(loaders: Loaders, on: PeerBackend): Promise<TensorFlow> {
  const tf = await ((loaders['tfjs']?.(on) as Promise<TensorFlow> | undefined) ?? load(on));
  if (tf.getBackend() !== on) throw new NoDeviceError(`tfjs: its backend ${on} does not start here`);
  return tf;
}

async function load(on: PeerBackend): Promise<TensorFlow> {
  if (on === 'webgpu') return (await import('../load/tfjs.ts')).loadTensorFlow();
  // Programs for Node do without its compiled kernels, which a page fetches.
  if (import.meta.env.SSR) throw new NoDeviceError('tfjs: its backend wasm is compared in a browser only');
  return (await import('../load/tfjs-wasm.ts')).loadTensorFlow();
}

async function finish(tf: TensorFlow): Promise<void> {
  const gpu = gpuOfTensorFlow(tf);
  if (!gpu) return;
  const backend = tf.backend() as unknown as WebGpuBackend;
  backend.endComputePassEncoder();
  // It has submitted by itself if the last command filled a batch.
  if (backend.commandEncoder) backend.submitQueue();
  await gpu.queue.onSubmittedWorkDone();
}

function upload(tf: TensorFlow, { inputs }: Problem): Named {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => [
      name,
      tf.tensor(data, [...shape], data instanceof Int32Array ? 'int32' : 'float32'),
    ]),
  );
}

function runnerOf(tf: TensorFlow, problem: Problem, compute: Compute): Runner {
  const gpu = gpuOfTensorFlow(tf);
  const meter = gpu && meterMemory(gpu);
  const inputs = {
    ...upload(tf, problem),
    ...(problem.workload.startsWith('attention') ? { mask: causalMask(tf, problem.dims) } : {}),
  };
  let outputs: Record<string, Tensor> = {};
  const drop = (): void => {
    for (const tensor of Object.values(outputs)) tensor.dispose();
    outputs = {};
  };
  return {
    get peakBytes() {
      return meter?.peakBytes;
    },
    async run(times) {
      for (let i = 0; i < times; i++) {
        drop();
        outputs = tf.tidy(() => compute(tf, inputs, problem.dims));
      }
      await finish(tf);
    },
    async read() {
      const entries = await Promise.all(
        Object.entries(outputs).map(async ([name, tensor]) => [name, await tensor.data()] as const),
      );
      return Object.fromEntries(entries) as Record<string, TypedArray>;
    },
    dispose() {
      drop();
      for (const tensor of Object.values(inputs)) tensor.dispose();
      meter?.stop();
    },
  };
}

const MASKED = -1e9;

function attend(tf: TensorFlow, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, D: number): Tensor {
  return tf.matMul(tf.softmax(tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(D)), mask)), v);
}

/** Zero where query i sees key j, otherwise as good as minus infinity; [T, T]. */
function causalMask(tf: TensorFlow, { T }: Dims): Tensor {
  return tf.tensor2d(
    Float32Array.from({ length: T * T }, (_, at) => (at % T > Math.floor(at / T) ? MASKED : 0)),
    [T, T],
  );
}

const loss = (tf: TensorFlow, targets: Tensor, logits: Tensor, V: number): tfjs.Scalar =>
  tf.losses.softmaxCrossEntropy(tf.oneHot(targets as tfjs.Tensor1D, V), logits) as tfjs.Scalar;

const computes: Readonly<Record<string, Compute>> = {
  matmul: (tf, { a, b }, { TA, TB }) => ({ out: tf.matMul(a, b, TA === 1, TB === 1) }),
  'attention-forward': (tf, { q, k, v, mask }, { D }) => ({ out: attend(tf, q, k, v, mask, D) }),
  'attention-forward-backward': (tf, { q, k, v, dOut, mask }, { D }) => {
    const {
      value,
      grads: [dQ, dK, dV],
    } = tf.valueAndGrads((...x) => attend(tf, x[0] as Tensor, x[1] as Tensor, x[2] as Tensor, mask, D))(
      [q, k, v],
      dOut,
    );
    return { out: value, dQ, dK, dV };
  },
  'cross-entropy': (tf, { logits, targets }, { V }) => {
    const { value, grad } = tf.valueAndGrad((x) => loss(tf, targets, x as Tensor, V))(logits);
    return { loss: value, dLogits: grad };
  },
  'linear-cross-entropy': (tf, { x, w, targets }, { V }) => {
    const {
      value,
      grads: [dX, dW],
    } = tf.valueAndGrads((...given) =>
      loss(tf, targets, tf.matMul(given[0] as Tensor, given[1] as Tensor, false, true), V),
    )([x, w]);
    return { loss: value, dX, dW };
  },
};

/** tf.train.adam keeps its moments, so it is not a function of its inputs; the decay is a multiplication before it. */
async function adamRunner(tf: TensorFlow, { inputs }: Problem): Promise<Runner> {
  const { lr, beta1, beta2, eps, weightDecay } = ADAMW;
  const variable = tf.variable(tf.tensor(inputs['param'].data), true, 'bench');
  const grad = tf.tensor(inputs['grad'].data);
  const optimizer = tf.train.adam(lr, beta1, beta2, eps);
  return {
    async run(times) {
      for (let i = 0; i < times; i++) {
        tf.tidy(() => {
          variable.assign(tf.mul(variable, 1 - lr * weightDecay));
          optimizer.applyGradients([{ name: 'bench', tensor: grad }]);
        });
      }
      await finish(tf);
    },
    async read() {
      return { param: (await variable.data()) as Float32Array<ArrayBuffer> };
    },
    dispose() {
      for (const one of [variable, grad, optimizer]) one.dispose();
    },
  };
}

export const peer: Peer = {
  library: 'tfjs',
  async open(loaders, on) {
    const tf = await openTensorFlow(loaders, on);
    const composed = Object.entries(computes).map(([name, compute]): [string, PeerWorkload] => [
      name,
      async (problem) => runnerOf(tf, problem, compute),
    ]);
    return {
      workloads: {
        ...Object.fromEntries(composed),
        adamw: (problem) => adamRunner(tf, problem),
        async 'gpt-step'(problem) {
          const { config, prepared } = stepOf(problem);
          return runnerOfSteps(await tfjsRunner(tf, config, prepared));
        },
      },
    };
  },
};
