// out = a b in f32: a [B, M, K], b [B, K, N] (B is left out where it is 1). 2 M K N flops per batch.

import { matmul } from '../../../shaders/matmul/matmul.ts';
import { numbers } from '../inputs.ts';
import { launchRunner } from '../launches.ts';
import type { Dims, Problem, Workload } from '../problem.ts';
import { sampled, verify } from '../check/verify.ts';
import type { Sample } from '../check/verify.ts';

function describe({ B, M, K, N }: Dims): string {
  return `${B > 1 ? `${B}x` : ''}${M}x${K}x${N}`;
}

function problem(dims: Dims): Problem {
  const { B, M, K, N } = dims;
  const shape = describe(dims);
  const batch = B > 1 ? [B] : [];
  const a = numbers(`matmul a ${shape}`, [...batch, M, K]);
  const b = numbers(`matmul b ${shape}`, [...batch, K, N]);
  const value = (at: number): number => {
    const [p, i, j] = [Math.floor(at / (M * N)), Math.floor(at / N) % M, at % N];
    let sum = 0;
    for (let k = 0; k < K; k++) sum += a.data[(p * M + i) * K + k] * b.data[(p * K + k) * N + j];
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
    { dims: { B: 1, M: 256, K: 384, N: 1536 }, scope: 'quick' },
    { dims: { B: 1, M: 256, K: 384, N: 8192 }, scope: 'default' },
    { dims: { B: 1, M: 1024, K: 1024, N: 1024 }, scope: 'default' },
  ],
  tiny: { B: 2, M: 5, K: 7, N: 9 },
  problem,
  prepare(device, made) {
    const { B, M, K, N } = made.dims;
    const params = {
      BATCH: B,
      M,
      N,
      K,
      TRANS_A: 0,
      TRANS_B: 0,
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
