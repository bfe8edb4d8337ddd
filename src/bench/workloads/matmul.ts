// out = op(a) op(b) in f32: op(a) [B, M, K], op(b) [B, K, N] (B is left out where it is 1); where TA or TB is 1, a or b
// lies in memory transposed. 2 M K N flops per batch.

import { matmul } from '../../../shaders/matmul/matmul.ts';
import { numbers } from '../inputs.ts';
import { launchRunner } from '../launches.ts';
import type { Dims, Problem, Workload } from '../problem.ts';
import { sampled, verify } from '../check/verify.ts';
import type { Sample } from '../check/verify.ts';

function describe({ B, M, K, N, TA = 0, TB = 0 }: Dims): string {
  const transposed = [...(TA ? ['a'] : []), ...(TB ? ['b'] : [])].join(' and ');
  return `${B > 1 ? `${B}x` : ''}${M}x${K}x${N}${transposed && `, ${transposed} transposed`}`;
}

function problem(dims: Dims): Problem {
  const { B, M, K, N, TA = 0, TB = 0 } = dims;
  const shape = describe(dims);
  const batch = B > 1 ? [B] : [];
  const a = numbers(`matmul a ${shape}`, [...batch, ...(TA ? [K, M] : [M, K])]);
  const b = numbers(`matmul b ${shape}`, [...batch, ...(TB ? [N, K] : [K, N])]);
  const value = (at: number): number => {
    const [p, i, j] = [Math.floor(at / (M * N)), Math.floor(at / N) % M, at % N];
    const [downA, downB] = [TA ? M : 1, TB ? 1 : N];
    const [fromA, fromB] = [p * M * K + (TA ? i : i * K), p * K * N + (TB ? j * K : j)];
    let sum = 0;
    for (let k = 0; k < K; k++) sum += a.data[fromA + k * downA] * b.data[fromB + k * downB];
    return sum;
  };
  let samples: Record<string, Sample> | undefined;
  return {
    workload: 'matmul',
    shape,
    dims,
    inputs: { a, b },
    cost: { flops: 2 * B * M * K * N, bytes: 4 * B * (M * K + K * N + M * N) },
    check: (outputs) => verify((samples ??= { out: sampled(shape, B * M * N, value) }), outputs),
  };
}

export const workload: Workload = {
  name: 'matmul',
  about: 'product of two f32 matrices, M x K x N',
  shapes: [
    { dims: { B: 1, M: 257, K: 385, N: 129 }, scope: 'default' },
    { dims: { B: 1, M: 1, K: 4096, N: 512 }, scope: 'default' },
    { dims: { B: 1, M: 256, K: 256, N: 256 }, scope: 'quick' },
    { dims: { B: 6, M: 256, K: 64, N: 256 }, scope: 'quick' },
    { dims: { B: 6, M: 255, K: 65, N: 255 }, scope: 'default' },
    { dims: { B: 1, M: 512, K: 512, N: 512 }, scope: 'default' },
    { dims: { B: 1, M: 512, K: 512, N: 512, TA: 1 }, scope: 'default' },
    { dims: { B: 1, M: 512, K: 512, N: 512, TB: 1 }, scope: 'default' },
    { dims: { B: 1, M: 256, K: 384, N: 1536 }, scope: 'quick' },
    { dims: { B: 1, M: 256, K: 384, N: 8192 }, scope: 'default' },
    { dims: { B: 1, M: 1024, K: 1024, N: 1024 }, scope: 'default' },
  ],
  tiny: { B: 2, M: 5, K: 7, N: 9 },
  problem,
  prepare(device, made) {
    const { B, M, K, N, TA = 0, TB = 0 } = made.dims;
    const params = {
      BATCH: B,
      M,
      N,
      K,
      TRANS_A: TA,
      TRANS_B: TB,
      A_BATCH: B > 1 ? M * K : 0,
      B_BATCH: B > 1 ? K * N : 0,
      BIAS: 0,
      ACT: 0,
      RESIDUAL: 0,
      ACCUMULATE: 0,
      SCALE: 1,
    };
    return launchRunner(device, made, {
      scratch: { out: B * M * N },
      outputs: { out: 'out' },
      launches: [{ kernel: matmul, params, io: { a: 'a', b: 'b', bias: 'a', residual: 'a', out: 'out' } }],
    });
  },
};
