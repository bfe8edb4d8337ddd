// dLogits [N, E] of routerTopK from dGates [N, K] and, if HAS_DPROBS, from dProbs [N, E] (the load-balancing loss); the
// choice of experts has no gradient. Without HAS_DPROBS, dProbs is not read: pass any other tensor.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import { routerTopK } from './router-top-k.ts';
import source from './router-backward.wgsl?raw';

export const routerBackward = defineKernel({
  name: 'routerBackward',
  bindings: { probs: 'read', index: 'read u32', dGates: 'read', dProbs: 'read', dLogits: 'read_write' },
  params: {
    N: 'tokens',
    E: 'experts',
    K: 'experts per token',
    RENORM: '1 if gates were divided by their sum',
    HAS_DPROBS: '1 adds the gradient through dProbs',
  },
  variants: [{ name: 'thread-per-row', source, tune: { WG: [32] }, grid: ({ N }, { WG }) => linearGrid(N, WG) }],
  cost: ({ N, E, K, HAS_DPROBS }) => ({ flops: N * (4 * E + 6 * K), bytes: 4 * N * (2 * E + 2 * K + HAS_DPROBS * E) }),
  reference({ probs, index, dGates, dProbs, dLogits }, { N, E, K, RENORM, HAS_DPROBS }) {
    for (let n = 0; n < N; n++) {
      const p = Array.from({ length: E }, (_, e) => probs[n * E + e]);
      const d = p.map((_, e) => (HAS_DPROBS ? dProbs[n * E + e] : 0));
      const chosen = Array.from({ length: K }, (_, k) => index[n * K + k]);
      const sum = RENORM ? chosen.reduce((total, e) => total + p[e], 0) : 1;
      // gate_k = p_k / sum: d gate_j / d p_k = [j = k] / sum - p_j / sum^2, the second term only if RENORM.
      chosen.forEach((e, k) => {
        d[e] += dGates[n * K + k] / sum;
        if (RENORM)
          chosen.forEach((other, j) => {
            d[e] -= (dGates[n * K + j] * p[other]) / sum ** 2;
          });
      });
      const dot = p.reduce((total, x, e) => total + x * d[e], 0);
      for (let e = 0; e < E; e++) dLogits[n * E + e] = p[e] * (d[e] - dot);
    }
  },
  sizes: ({ N, E, K, HAS_DPROBS }) => ({
    probs: N * E,
    index: N * K,
    dGates: N * K,
    dProbs: HAS_DPROBS ? N * E : 1,
    dLogits: N * E,
  }),
  testInput(name, { N, E, K, RENORM }) {
    if (name !== 'probs' && name !== 'index') return undefined;
    const io = {
      logits: Float32Array.from({ length: N * E }, (_, i) => Math.sin(1 + 7 * i)),
      probs: new Float32Array(N * E),
      index: new Uint32Array(N * K),
      gates: new Float32Array(N * K),
    };
    routerTopK.reference(io, { N, E, K, RENORM });
    return io[name];
  },
  cases: [
    { N: 1, E: 1, K: 1, RENORM: 0, HAS_DPROBS: 0 },
    { N: 65, E: 8, K: 2, RENORM: 1, HAS_DPROBS: 1 },
    { N: 33, E: 17, K: 3, RENORM: 0, HAS_DPROBS: 1 },
    { N: 40, E: 4, K: 4, RENORM: 1, HAS_DPROBS: 0 },
    { N: 10, E: 6, K: 1, RENORM: 0, HAS_DPROBS: 0 },
  ],
});
