// jax-js on WebGPU or WebAssembly: every workload is one jit-compiled function, gradients by grad. Arrays are moved
// into calls unless `.ref` keeps them. Results are lazy until asked for, so a run asks for them before it drops them.

import type * as jaxjs from '@jax-js/jax';
import { NoDeviceError } from '../../base/errors.ts';
import type { TypedArray } from '../../base/shape.ts';
import { jaxRunner } from '../gpt2/jax-gpt2.ts';
import { meanLoss } from '../gpt2/jax-loss.ts';
import { runnerOfSteps, stepOf } from '../gpt2/step-problem.ts';
import { swapHeads } from '../head-layout.ts';
import { meterMemory } from '../memory-meter.ts';
import { gpuOfJax } from '../load/gpu.ts';
import type { Dims, Loaders, Peer, PeerBackend, PeerWorkload, Problem, Runner } from '../problem.ts';
import { ADAMW } from '../workloads/adamw.ts';

export type Jax = typeof jaxjs;
export type JaxArray = jaxjs.Array;
/** From the problem's inputs in their order to the outputs in the order of `names`. */
interface Compute {
  readonly names: readonly string[];
  build(jax: Jax, dims: Dims): (...inputs: JaxArray[]) => JaxArray[];
}

/** Loads it unless the caller knows better, and opens its backend; throws NoDeviceError where there is none. */
export async function openJax(loaders: Loaders, on: PeerBackend): Promise<Jax> {
  const jax = await ((loaders['jax-js']?.(on) as Promise<Jax> | undefined) ?? import('@jax-js/jax'));
  if (!(await jax.init(on)).includes(on)) throw new NoDeviceError(`jax-js: its backend ${on} does not start here`);
  jax.defaultDevice(on);
  return jax;
}

/** Its attention takes [T, heads, D]. */
const isAttention = ({ workload }: Problem): boolean => workload.startsWith('attention');

function upload({ numpy }: Jax, problem: Problem): JaxArray[] {
  return Object.values(problem.inputs).map(({ data, shape }) => {
    if (data instanceof Int32Array) return numpy.array(data, { shape: [...shape], dtype: numpy.int32 });
    if (!isAttention(problem)) return numpy.array(data, { shape: [...shape] });
    const [H, T, D] = shape;
    return numpy.array(swapHeads(data, H, T, D), { shape: [T, H, D] });
  });
}

function runnerOf(jax: Jax, problem: Problem, { names, build }: Compute): Runner {
  const gpu = gpuOfJax(jax);
  const meter = gpu && meterMemory(gpu);
  const inputs = upload(jax, problem);
  const compiled = jax.jit(build(jax, problem.dims));
  let outputs: JaxArray[] = [];
  const drop = (arrays: readonly JaxArray[]): void => {
    for (const array of arrays) array.dispose();
  };
  return {
    get peakBytes() {
      return meter?.peakBytes;
    },
    async run(times) {
      for (let i = 0; i < times; i++) {
        drop(outputs);
        outputs = compiled(...inputs.map((array) => array.ref)) as JaxArray[];
        // Sends the whole compiled function to the queue and waits for nothing: its results share what is pending.
        // blockUntilReady would read back from a GPU.
        await (gpu ? outputs[0].ref.gpuBuffer() : jax.blockUntilReady(outputs));
      }
      await gpu?.queue.onSubmittedWorkDone();
    },
    async read() {
      const { H, T, D } = problem.dims;
      const data = await Promise.all(
        outputs.map(async (array) => {
          const flat = await array.ref.data();
          return isAttention(problem) ? swapHeads(flat as Float32Array, T, H, D) : flat;
        }),
      );
      return Object.fromEntries(names.map((name, i) => [name, data[i]])) as Record<string, TypedArray>;
    },
    dispose() {
      drop([...outputs, ...inputs]);
      outputs = [];
      compiled.dispose();
      meter?.stop();
    },
  };
}

const computes: Readonly<Record<string, Compute>> = {
  matmul: {
    names: ['out'],
    build:
      ({ numpy }, { TA, TB }) =>
      (a, b) => [numpy.matmul(TA ? numpy.matrixTranspose(a) : a, TB ? numpy.matrixTranspose(b) : b)],
  },
  'attention-forward': {
    names: ['out'],
    build:
      ({ nn }) =>
      (q, k, v) => [nn.dotProductAttention(q, k, v, { isCausal: true })],
  },
  'attention-forward-backward': {
    names: ['out', 'dQ', 'dK', 'dV'],
    build:
      ({ nn, vjp }) =>
      (q, k, v, dOut) => {
        const [out, pullBack] = vjp(
          (...x: JaxArray[]) => nn.dotProductAttention(x[0], x[1], x[2], { isCausal: true }),
          [q, k, v],
        );
        const gradients = pullBack(dOut) as JaxArray[];
        pullBack.dispose();
        return [out, ...gradients];
      },
  },
  'cross-entropy': {
    names: ['loss', 'dLogits'],
    build:
      (jax, { R, V }) =>
      (logits, targets) => {
        const [loss, gradient] = jax.valueAndGrad((x: JaxArray) => meanLoss(jax, x, targets, R, V))(logits);
        return [loss, gradient as JaxArray];
      },
  },
  'linear-cross-entropy': {
    names: ['loss', 'dX', 'dW'],
    build:
      (jax, { R, V }) =>
      (x, w, targets) => {
        const [loss, gradients] = jax.valueAndGrad(
          (a: JaxArray, b: JaxArray) => meanLoss(jax, jax.numpy.matmul(a, jax.numpy.transpose(b)), targets, R, V),
          { argnums: [0, 1] },
        )(x, w);
        return [loss, ...(gradients as JaxArray[])];
      },
  },
  adamw: {
    names: ['param', 'm', 'v'],
    build:
      ({ numpy }) =>
      (param, grad, m, v, hyper) => {
        hyper.dispose();
        const { lr, beta1, beta2, eps, weightDecay, rest1, rest2 } = ADAMW;
        const mean = m.mul(beta1).add(grad.ref.mul(rest1));
        const square = v.mul(beta2).add(grad.ref.mul(grad).mul(rest2));
        const step = mean.ref.mul(lr / rest1).div(numpy.sqrt(square.ref.mul(1 / rest2)).add(eps));
        return [param.mul(1 - lr * weightDecay).sub(step), mean, square];
      },
  },
};

export const peer: Peer = {
  library: 'jax-js',
  async open(loaders, on) {
    const jax = await openJax(loaders, on);
    const composed = Object.entries(computes).map(([name, compute]): [string, PeerWorkload] => [
      name,
      async (problem) => runnerOf(jax, problem, compute),
    ]);
    const step: PeerWorkload = async (problem) => {
      const { config, prepared } = stepOf(problem);
      return runnerOfSteps(await jaxRunner(jax, config, prepared));
    };
    return { workloads: { ...Object.fromEntries(composed), 'gpt-step': step } };
  },
};
