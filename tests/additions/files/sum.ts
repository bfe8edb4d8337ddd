// A workload to add: the sum of two vectors.

import { add } from '../../../shaders/elementwise/add.ts';
import { sampled, verify } from '../../../src/bench/check/verify.ts';
import { numbers } from '../../../src/bench/inputs.ts';
import { launchRunner } from '../../../src/bench/launches.ts';
import type { Dims, Problem, Workload } from '../../../src/bench/problem.ts';

function problem(dims: Dims): Problem {
  const { N } = dims;
  const [a, b] = [numbers(`sum a ${N}`, [N]), numbers(`sum b ${N}`, [N])];
  return {
    workload: 'sum',
    shape: String(N),
    dims,
    inputs: { a, b },
    cost: add.cost({ N, ALPHA: 1, BETA: 1 }),
    check: (outputs) => verify({ out: sampled(String(N), N, (i) => a.data[i] + b.data[i]) }, outputs),
  };
}

export const workload: Workload = {
  name: 'sum',
  about: 'sum of two vectors',
  shapes: [{ dims: { N: 1_000_000 }, scope: 'full' }],
  tiny: { N: 30 },
  problem,
  prepare: (device, made) =>
    launchRunner(device, made, {
      scratch: { out: made.dims.N },
      outputs: { out: 'out' },
      launches: [{ kernel: add, params: { N: made.dims.N, ALPHA: 1, BETA: 1 }, io: { a: 'a', b: 'b', out: 'out' } }],
    }),
};
