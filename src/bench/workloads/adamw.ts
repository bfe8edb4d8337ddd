// The first AdamW step of N weights: moments 0, decay on. tabmesh and tfjs go on from the last run's state, jax-js and
// onnxruntime-web take the same state again; all do the same work per run.

import { adamw } from '../../../shaders/optimizer/adamw.ts';
import { numbers, zeros } from '../inputs.ts';
import { launchRunner } from '../launches.ts';
import type { Dims, Problem, Workload } from '../problem.ts';
import { sampled, verify } from '../check/verify.ts';
import type { Sample } from '../check/verify.ts';

/** `rest1` and `rest2` are 1 - beta, exactly as meant. */
export const ADAMW = {
  lr: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0.1,
  rest1: 0.1,
  rest2: 0.001,
} as const;

function problem(dims: Dims): Problem {
  const { N } = dims;
  const shape = N % 1e6 === 0 ? `${N / 1e6}M` : String(N);
  const param = numbers(`adamw param ${shape}`, [N]);
  const grad = numbers(`adamw grad ${shape}`, [N], 1e-2);
  const { lr, beta1, beta2, eps, weightDecay, rest1, rest2 } = ADAMW;
  const hyper = {
    shape: [10],
    data: Float32Array.of(lr, beta1, beta2, eps, weightDecay, rest1, rest2, 1, rest1, rest2),
  };
  const updated = (i: number): number => {
    const g = grad.data[i];
    const [mean, square] = [rest1 * g, rest2 * g * g];
    return param.data[i] * (1 - lr * weightDecay) - (lr * (mean / rest1)) / (Math.sqrt(square / rest2) + eps);
  };
  let samples: Record<string, Sample> | undefined;
  return {
    workload: 'adamw',
    shape,
    dims,
    inputs: { param, grad, m: zeros([N]), v: zeros([N]), hyper },
    cost: adamw.cost({ N, DECAY_START: 0, DECAY_END: N }),
    // The update is a thousandth of a weight: an error of one percent of it is ten times what is allowed.
    check: (outputs) => verify((samples ??= { param: sampled(shape, N, updated, 1e-6) }), outputs),
  };
}

export const workload: Workload = {
  name: 'adamw',
  about: 'one AdamW step, weights',
  shapes: [
    { dims: { N: 1_000_000 }, scope: 'quick' },
    { dims: { N: 10_000_000 }, scope: 'default' },
  ],
  tiny: { N: 300 },
  problem,
  prepare: (device, made) =>
    launchRunner(device, made, {
      scratch: { flags: 1 },
      outputs: { param: 'param' },
      launches: [
        {
          kernel: adamw,
          params: { N: made.dims['N'], DECAY_START: 0, DECAY_END: made.dims['N'] },
          io: { param: 'param', grad: 'grad', m: 'm', v: 'v', hyper: 'hyper', flags: 'flags' },
        },
      ],
    }),
};
