// probs [N, E] = softmax(logits) and the K most probable experts of each row: index [N, K] by falling probability
// (ties: the lower expert first), gates [N, K] their probabilities, divided by their sum if RENORM. K <= E.
// Source: Shazeer et al. 2017 (arXiv 1701.06538) eq. 3-5; Mixtral (arXiv 2401.04088) renormalises, Switch (arXiv
// 2101.03961) does not.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './router-top-k.wgsl?raw';

export const routerTopK = defineKernel({
  name: 'routerTopK',
  bindings: { logits: 'read', probs: 'read_write', index: 'read_write u32', gates: 'read_write' },
  params: { N: 'tokens', E: 'experts', K: 'experts per token', RENORM: '1 divides gates by their sum' },
  variants: [{ name: 'thread-per-row', source, tune: { WG: [32] }, grid: ({ N }, { WG }) => linearGrid(N, WG) }],
  cost: ({ N, E, K }) => ({ flops: N * (5 * E + 2 * K), bytes: 4 * N * (2 * E + 2 * K) }),
  reference({ logits, probs, index, gates }, { N, E, K, RENORM }) {
    for (let n = 0; n < N; n++) {
      const row = Array.from({ length: E }, (_, e) => logits[n * E + e]);
      const most = Math.max(...row);
      const sum = row.reduce((total, x) => total + Math.exp(x - most), 0);
      const p = row.map((x) => Math.exp(x - most) / sum);
      const order = row
        .map((_, e) => e)
        .sort((x, y) => row[y] - row[x] || x - y)
        .slice(0, K);
      const chosen = RENORM ? order.reduce((total, e) => total + p[e], 0) : 1;
      for (let e = 0; e < E; e++) probs[n * E + e] = p[e];
      order.forEach((e, k) => {
        index[n * K + k] = e;
        gates[n * K + k] = p[e] / chosen;
      });
    }
  },
  sizes: ({ N, E, K }) => ({ logits: N * E, probs: N * E, index: N * K, gates: N * K }),
  // Quarter steps, so that there are ties; far from zero, so that the maximum must be taken off.
  testInput: (name, { N, E }, random) =>
    name === 'logits' ? Float32Array.from({ length: N * E }, () => 200 + Math.round(16 * random() - 8) / 4) : undefined,
  cases: [
    { N: 1, E: 1, K: 1, RENORM: 0 },
    { N: 65, E: 8, K: 2, RENORM: 1 },
    { N: 33, E: 17, K: 3, RENORM: 0 },
    { N: 40, E: 4, K: 4, RENORM: 1 },
    { N: 3, E: 64, K: 8, RENORM: 1 },
  ],
});
