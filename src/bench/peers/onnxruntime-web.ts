// ONNX Runtime Web on its WebGPU or WebAssembly provider: one small graph per workload, on WebGPU with inputs and
// outputs in GPU buffers that live as long as the runner. It has no gradients. Attention is Microsoft's
// MultiHeadAttention: the Attention of opset 23 is not on the WebGPU provider and would silently run on the CPU.

import type * as ortweb from 'onnxruntime-web/webgpu';
import { NoDeviceError } from '../../base/errors.ts';
import { swapHeads } from '../head-layout.ts';
import { meterMemory } from '../memory-meter.ts';
import { MICROSOFT, onnxModel } from '../onnx-model.ts';
import type { OnnxGraph, OnnxNode } from '../onnx-model.ts';
import type { Dims, Loaders, Peer, PeerBackend, PeerWorkload, Problem, Runner } from '../problem.ts';
import { ADAMW } from '../workloads/adamw.ts';

type Ort = typeof ortweb;
type Shape = readonly number[];

/** GPUBufferUsage and GPUMapMode by value: MAP_READ 1, COPY_SRC 4, COPY_DST 8, STORAGE 128. */
const STORAGE = 128 | 8 | 4;
const STAGING = 1 | 8;
const READ = 1;

interface Plan {
  graph(inputs: Readonly<Record<string, Shape>>, dims: Dims): OnnxGraph;
  /** Its attention takes [1, T, H D]. */
  readonly byPosition?: boolean;
}

function adamwGraph(inputs: Readonly<Record<string, Shape>>, { N }: Dims): OnnxGraph {
  const { lr, beta1, beta2, eps, weightDecay, rest1, rest2 } = ADAMW;
  const nodes: OnnxNode[] = [];
  const make = (op: string, out: string, ...from: string[]): string => {
    nodes.push({ op, inputs: from, outputs: [out] });
    return out;
  };
  const mean = make('Add', 'mean', make('Mul', 'm1', 'm', 'beta1'), make('Mul', 'g1', 'grad', 'rest1'));
  const square = make(
    'Add',
    'square',
    make('Mul', 'v1', 'v', 'beta2'),
    make('Mul', 'g3', make('Mul', 'g2', 'grad', 'grad'), 'rest2'),
  );
  const step = make(
    'Div',
    'step',
    make('Mul', 'm2', mean, 'rate'),
    make('Add', 'root1', make('Sqrt', 'root', make('Mul', 'v2', square, 'scale2')), 'eps'),
  );
  make('Sub', 'updated', make('Mul', 'kept', 'param', 'decay'), step);
  const { param, grad, m, v } = inputs;
  return {
    nodes,
    inputs: { param, grad, m, v },
    outputs: { updated: [N], mean: [N], square: [N] },
    scalars: { beta1, beta2, rest1, rest2, eps, rate: lr / rest1, scale2: 1 / rest2, decay: 1 - lr * weightDecay },
  };
}

const plans: Readonly<Record<string, Plan>> = {
  matmul: {
    graph: (inputs, { B, M, N, TA = 0, TB = 0 }) => ({
      nodes: [
        {
          ...(TA || TB ? { op: 'Gemm', attributes: { transA: TA, transB: TB } } : { op: 'MatMul' }),
          inputs: ['a', 'b'],
          outputs: ['out'],
        },
      ],
      inputs,
      outputs: { out: B > 1 ? [B, M, N] : [M, N] },
    }),
  },
  'attention-forward': {
    byPosition: true,
    graph: (_inputs, { H, T, D }) => {
      const shape = [1, T, H * D];
      const attributes = { num_heads: H, unidirectional: 1 };
      return {
        nodes: [{ op: 'MultiHeadAttention', domain: MICROSOFT, inputs: ['q', 'k', 'v'], outputs: ['out'], attributes }],
        inputs: { q: shape, k: shape, v: shape },
        outputs: { out: shape },
      };
    },
  },
  adamw: { graph: adamwGraph },
};

/** Outputs that are called otherwise in the graph, where an input has the name. */
const RENAMED: Readonly<Record<string, string>> = { updated: 'param', mean: 'm', square: 'v' };

const count = (shape: Shape): number => shape.reduce((product, n) => product * n, 1);

function graphOf({ dims, inputs }: Problem, plan: Plan): OnnxGraph {
  return plan.graph(Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape])), dims);
}

/** The graph's input `name`. */
function inputOf(
  { inputs, dims: { H, T, D } }: Problem,
  { byPosition }: Plan,
  name: string,
): Float32Array<ArrayBuffer> {
  const data = inputs[name].data as Float32Array<ArrayBuffer>;
  return byPosition ? swapHeads(data, H, T, D) : data;
}

/** What the problem calls the graph's output `name`, and its values. */
function outputOf(
  { dims: { H, T, D } }: Problem,
  { byPosition }: Plan,
  name: string,
  data: Float32Array<ArrayBuffer>,
): [string, Float32Array<ArrayBuffer>] {
  return [RENAMED[name] ?? name, byPosition ? swapHeads(data, T, H, D) : data];
}

/** Inputs and outputs are the page's, as its users have them: it copies them into its memory and out of it. */
async function wasmRunner(ort: Ort, problem: Problem, plan: Plan): Promise<Runner> {
  const graph = graphOf(problem, plan);
  const session = await ort.InferenceSession.create(onnxModel(graph), {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
  });
  const feeds = Object.fromEntries(
    Object.entries(graph.inputs).map(([name, shape]) => [
      name,
      new ort.Tensor('float32', inputOf(problem, plan, name), shape),
    ]),
  );
  let made: ortweb.InferenceSession.ReturnType = {};
  return {
    async run(times) {
      for (let i = 0; i < times; i++) made = await session.run(feeds);
    },
    async read() {
      return Object.fromEntries(
        Object.entries(made).map(([name, { data }]) =>
          outputOf(problem, plan, name, data as Float32Array<ArrayBuffer>),
        ),
      );
    },
    dispose() {
      void session.release();
    },
  };
}

async function webGpuRunner(ort: Ort, problem: Problem, plan: Plan): Promise<Runner> {
  const graph = graphOf(problem, plan);
  const session = await ort.InferenceSession.create(onnxModel(graph), {
    executionProviders: ['webgpu'],
    preferredOutputLocation: 'gpu-buffer',
    logSeverityLevel: 3,
  });
  const device = (await ort.env.webgpu.device) as GPUDevice;
  const meter = meterMemory(device);
  const buffers: GPUBuffer[] = [];
  const tensor = (shape: Shape, data?: Float32Array<ArrayBuffer>): { buffer: GPUBuffer; tensor: ortweb.Tensor } => {
    // Its buffers are multiples of 16 bytes.
    const buffer = device.createBuffer({ size: Math.ceil(count(shape) / 4) * 16, usage: STORAGE });
    buffers.push(buffer);
    if (data) device.queue.writeBuffer(buffer, 0, data);
    return { buffer, tensor: ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: shape }) };
  };
  const feeds = Object.fromEntries(
    Object.entries(graph.inputs).map(([name, shape]) => [name, tensor(shape, inputOf(problem, plan, name)).tensor]),
  );
  const made = Object.entries(graph.outputs).map(([name, shape]) => ({ name, shape, ...tensor(shape) }));
  const fetches = Object.fromEntries(made.map((one) => [one.name, one.tensor]));
  return {
    get peakBytes() {
      return meter.peakBytes;
    },
    async run(times) {
      for (let i = 0; i < times; i++) await session.run(feeds, fetches);
      await device.queue.onSubmittedWorkDone();
    },
    async read() {
      const read: [string, Float32Array<ArrayBuffer>][] = [];
      for (const { name, shape, buffer } of made) {
        read.push(outputOf(problem, plan, name, await readBack(device, buffer, count(shape))));
      }
      return Object.fromEntries(read);
    },
    dispose() {
      for (const buffer of buffers) buffer.destroy();
      meter.stop();
      void session.release();
    },
  };
}

async function readBack(device: GPUDevice, buffer: GPUBuffer, length: number): Promise<Float32Array<ArrayBuffer>> {
  const staging = device.createBuffer({ size: buffer.size, usage: STAGING });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(READ);
  const data = new Float32Array(staging.getMappedRange().slice(0, 4 * length));
  staging.destroy();
  return data;
}

const NO_GRADIENTS = 'onnxruntime-web runs inference graphs and has no gradients';

/** Each is the build that its makers have for it. */
async function load(on: PeerBackend): Promise<Ort> {
  if (on === 'webgpu') return import('onnxruntime-web/webgpu');
  if (import.meta.env.SSR) throw new NoDeviceError('onnxruntime-web is compared in a browser only');
  return import('onnxruntime-web/wasm');
}

export const peer: Peer = {
  library: 'onnxruntime-web',
  async open(loaders: Loaders, on: PeerBackend) {
    const ort = await ((loaders['onnxruntime-web']?.(on) as Promise<Ort> | undefined) ?? load(on));
    if (on === 'webgpu' && (typeof navigator === 'undefined' || !navigator.gpu))
      throw new NoDeviceError('onnxruntime-web: there is no WebGPU here');
    ort.env.wasm.numThreads = 1;
    // The adapter that the others ask for.
    if (on === 'webgpu') ort.env.webgpu.powerPreference = 'high-performance';
    ort.env.logLevel = 'error';
    const composed = Object.entries(plans).map(([name, plan]): [string, PeerWorkload] => [
      name,
      (problem) => (on === 'webgpu' ? webGpuRunner : wasmRunner)(ort, problem, plan),
    ]);
    const lacking = ['attention-forward-backward', 'cross-entropy', 'linear-cross-entropy', 'gpt-step'].map(
      (name): [string, string] => [name, NO_GRADIENTS],
    );
    return { workloads: Object.fromEntries([...composed, ...lacking]) };
  },
};
