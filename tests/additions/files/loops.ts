// A library to compare with, to add: loops in f64, which take the product of two matrices and nothing else.

import type { Peer, Problem, Runner } from '../../../src/bench/problem.ts';

function product({ dims, inputs }: Problem): Runner {
  const { B, M, K, N } = dims;
  const out = new Float32Array(B * M * N);
  return {
    run() {
      for (let at = 0; at < out.length; at++) {
        const [p, i, j] = [Math.floor(at / (M * N)), Math.floor(at / N) % M, at % N];
        let sum = 0;
        for (let k = 0; k < K; k++) sum += inputs.a.data[(p * M + i) * K + k] * inputs.b.data[(p * K + k) * N + j];
        out[at] = sum;
      }
      return Promise.resolve();
    },
    read: () => Promise.resolve({ out }),
    dispose: () => undefined,
  };
}

export const peer: Peer = {
  library: 'loops',
  open: () => Promise.resolve({ workloads: { matmul: (problem) => Promise.resolve(product(problem)) } }),
};
