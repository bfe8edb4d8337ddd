// The projection onto the vocabulary with its loss, as one op: logits = x W^T, mean softmax cross-entropy, gradients by
// x and W. tabmesh walks the vocabulary in chunks and keeps no whole logits; `peakBytes` shows it. x [R, D], W [V, D];
// 6 R D V flops are credited to everybody.

import { reduceSum } from '../../../shaders/reduce/reduce-sum.ts';
import { linearCrossEntropy } from '../../ops/cross-entropy.ts';
import { Program, readTensors } from '../../device/program.ts';
import type { Device } from '../../device/device.ts';
import { rows } from '../../device/tensor.ts';
import type { Param, Tensor } from '../../device/tensor.ts';
import { indices, numbers } from '../inputs.ts';
import { bytesInUse } from '../launches.ts';
import { rowStatistics } from '../check/row-statistics.ts';
import type { Dims, Problem, Runner, Workload } from '../problem.ts';
import { places, verify } from '../check/verify.ts';
import type { Sample } from '../check/verify.ts';
import { LOSS_TOLERANCE } from './cross-entropy.ts';

function problem(dims: Dims): Problem {
  const { R, D, V } = dims;
  const shape = `${R}x${D}x${V}`;
  const x = numbers(`head x ${shape}`, [R, D]);
  const w = numbers(`head w ${shape}`, [V, D], 2 / Math.sqrt(D));
  const targets = indices(`head targets ${shape}`, R, V);
  let samples: Record<string, Sample> | undefined;
  return {
    workload: 'linear-cross-entropy',
    shape,
    dims,
    inputs: { x, w, targets },
    cost: { flops: 6 * R * D * V, bytes: 4 * (2 * V * D + 2 * R * D) },
    check: (outputs) => verify((samples ??= expected(x.data, w.data, targets.data, dims)), outputs),
  };
}

/** The loss from all logits; dX of two rows and dW of sampled rows of W in f64. One pass over R V D products. */
function expected(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  targets: Int32Array,
  { R, D, V }: Dims,
): Record<string, Sample> {
  const logit = (r: number, v: number): number => {
    let sum = 0;
    for (let d = 0, i = r * D, j = v * D; d < D; d++) sum += x[i + d] * w[j + d];
    return sum;
  };
  const kept = [0, R - 1];
  const rowsKept = new Map<number, Float64Array>();
  const { lse, loss } = rowStatistics(
    (r) => {
      const row = Float64Array.from({ length: V }, (_, v) => logit(r, v));
      if (kept.includes(r)) rowsKept.set(r, row);
      return row;
    },
    targets,
    R,
    V,
  );
  const gradient = (r: number, v: number, value: number): number =>
    (Math.exp(value - lse[r]) - (v === targets[r] ? 1 : 0)) / R;
  const dX = [...rowsKept].flatMap(([r, row]) =>
    places(`dX ${r}`, D, 16).map((d): [number, number] => {
      let sum = 0;
      for (let v = 0; v < V; v++) sum += gradient(r, v, row[v]) * w[v * D + d];
      return [r * D + d, sum];
    }),
  );
  // Rows of W that are a target have the large gradients.
  const chosen = [...new Set([...Array.from(targets.slice(0, 4)), ...places('dW', V, 12)])];
  const dW = chosen.flatMap((v) => {
    const column = Float64Array.from({ length: R }, (_, r) => gradient(r, v, logit(r, v)));
    return places(`dW ${v}`, D, 8).map((d): [number, number] => [
      v * D + d,
      column.reduce((sum, g, r) => sum + g * x[r * D + d], 0),
    ]);
  });
  const sample = (length: number, pairs: readonly [number, number][]): Sample => ({
    length,
    at: pairs.map(([at]) => at),
    expected: pairs.map(([, value]) => value),
  });
  return {
    loss: { length: 1, at: [0], expected: [loss], tolerance: LOSS_TOLERANCE },
    dX: sample(R * D, dX),
    dW: sample(V * D, dW),
  };
}

async function prepare(device: Device, { dims, inputs }: Problem): Promise<Runner> {
  const { R, D, V } = dims;
  const before = bytesInUse(device);
  const program = new Program(device);
  const buffers = [device.alloc(4 * V * D, 'param', 'w'), device.alloc(4 * V * D, 'grad', 'dw')];
  const dispose = (): void => {
    program.dispose();
    for (const buffer of buffers) device.free(buffer);
  };
  try {
    const [weight, grad] = buffers.map((buffer): Tensor => ({
      shape: [V, D],
      dtype: 'f32',
      label: buffer.label,
      offset: 0,
      storage: { kind: 'fixed', buffer },
    }));
    const w: Param = { ...weight, name: 'w', grad };
    const [x, targets, scale] = [
      program.tensor([R, D], 'f32', 'x'),
      program.tensor([R], 'i32', 'targets'),
      program.tensor([R], 'f32', 'scale'),
    ];
    const r = program.recorder('step');
    const attrs = { vStart: 0, vocab: V };
    const { out, saved } = linearCrossEntropy.forward(r, { x, targets }, { w }, attrs);
    const lossSum = program.tensor([1], 'f32', 'lossSum');
    r.launch(reduceSum, { x: out, partials: lossSum }, { N: R, SQUARE: 0, PARTS: 1 });
    const { x: dX } = linearCrossEntropy.backward!(r, scale, saved, { w }, attrs, { x: true });
    program.keep(x, targets, scale, lossSum, dX!);
    const plan = (await program.finish()).get('step')!;
    device.write(buffers[0], 0, inputs['w'].data);
    program.write(x, 0, inputs['x'].data);
    program.write(targets, 0, inputs['targets'].data);
    program.write(scale, 0, new Float32Array(R).fill(1 / R));
    return {
      peakBytes: bytesInUse(device) - before,
      async run(times) {
        for (let i = 0; i < times; i++) await plan.run();
        await device.idle();
      },
      async read() {
        const [sum, dx, dw] = await readTensors(program, [lossSum, dX!, rows(grad, 0, V)]);
        return { loss: Float32Array.of(sum[0] / R), dX: dx, dW: dw };
      },
      dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

export const workload: Workload = {
  name: 'linear-cross-entropy',
  about: 'projection, mean softmax cross-entropy and the gradients of both inputs, rows x hidden x vocabulary',
  shapes: [
    { dims: { R: 256, D: 384, V: 8192 }, scope: 'quick' },
    { dims: { R: 256, D: 384, V: 50304 }, scope: 'default' },
  ],
  tiny: { R: 4, D: 64, V: 96 },
  problem,
  prepare,
};
