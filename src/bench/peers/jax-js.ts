// jax-js on WebGPU: every workload is one jit-compiled function, gradients by grad. Arrays are moved into calls unless `.ref` keeps them. Results are
// lazy until asked for, so a run asks for them before it drops them.

import type * as jaxjs from '@jax-js/jax';
import { NoDeviceError } from '../../base/errors.ts';
import type { TypedArray } from '../../base/shape.ts';
import { meterMemory } from '../memory-meter.ts';
import type { Dims, Loaders, Peer, PeerWorkload, Problem, Runner } from '../problem.ts';

export type Jax = typeof jaxjs;
type JaxArray = jaxjs.Array;
/** From the problem's inputs in their order to the outputs in the order of `names`. */
interface Compute { readonly names: readonly string[]; build(jax: Jax, dims: Dims): (...inputs: JaxArray[]) => JaxArray[] }

/** Results that may wait for their turn at once: asking for each would cost a fast GPU a wait per run. */
const IN_FLIGHT = 8;
const IN_FLIGHT_BYTES = 2 ** 28;

/** Loads it unless the caller knows better, and makes its WebGPU device; throws NoDeviceError where there is none. */
export async function openJax(loaders: Loaders): Promise<Jax> {
  const jax = await (loaders['jax-js']?.() as Promise<Jax> | undefined ?? import('@jax-js/jax'));
  if (!(await jax.init('webgpu')).includes('webgpu')) throw new NoDeviceError('jax-js: its backend webgpu does not start here');
  jax.defaultDevice('webgpu');
  return jax;
}

export function upload({ numpy }: Jax, { inputs }: Problem): JaxArray[] {
  return Object.values(inputs).map(({ data, shape }) => numpy.array(data, { shape: [...shape], dtype: data instanceof Int32Array ? numpy.int32 : numpy.float32 }));
}

function runnerOf(jax: Jax, problem: Problem, { names, build }: Compute): Runner {
  const device = jax.getWebGPUDevice();
  const meter = meterMemory(device);
  const inputs = upload(jax, problem);
  const compiled = jax.jit(build(jax, problem.dims));
  let outputs: JaxArray[] = [];
  const drop = (arrays: readonly JaxArray[]): void => { for (const array of arrays) array.dispose(); };
  return {
    get peakBytes() { return meter.peakBytes; },
    async run(times) {
      drop(outputs);
      outputs = [];
      let waiting: JaxArray[] = [];
      for (let i = 0; i < times; i++) {
        outputs = compiled(...inputs.map((array) => array.ref)) as JaxArray[];
        waiting.push(...outputs);
        const bytes = 4 * outputs.reduce((sum, { size }) => sum + size, 0);
        if (i < times - 1 && waiting.length < IN_FLIGHT * outputs.length && bytes * waiting.length < IN_FLIGHT_BYTES * outputs.length) continue;
        await jax.blockUntilReady(waiting);
        if (i < times - 1) drop(waiting); else drop(waiting.slice(0, -outputs.length));
        waiting = [];
      }
      await device.queue.onSubmittedWorkDone();
    },
    async read() {
      const data = await Promise.all(outputs.map((array) => array.ref.data()));
      return Object.fromEntries(names.map((name, i) => [name, data[i]])) as Record<string, TypedArray>;
    },
    dispose() {
      drop([...outputs, ...inputs]);
      outputs = [];
      compiled.dispose();
      meter.stop();
    },
  };
}

const computes: Readonly<Record<string, Compute>> = {
  matmul: { names: ['out'], build: ({ numpy }) => (a, b) => [numpy.matmul(a, b)] },
};

export const peer: Peer = {
  library: 'jax-js',
  async open(loaders) {
    const jax = await openJax(loaders);
    const composed = Object.entries(computes).map(([name, compute]): [string, PeerWorkload] => [name, async (problem) => runnerOf(jax, problem, compute)]);
    return { workloads: Object.fromEntries(composed) };
  },
};
