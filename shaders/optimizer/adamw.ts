// One AdamW step of N weights, in place: g = gradScale grad; m, v <- moving averages of g, g^2; w[i] <- w[i] (1 - lr
// weightDecay) where i in [DECAY_START, DECAY_END);
// w <- w - lr (m / biasCorrection1) / (sqrt(v) / sqrt(biasCorrection2) + eps). hyper is [lr, beta1, beta2, eps,
// weightDecay, biasCorrection1, biasCorrection2, gradScale, 1 - beta1, 1 - beta2], biasCorrection = 1 - beta^t, all
// from the host: they change every step without a new pipeline, and 1 - 0.999 taken in f32 would be off by 5e-5.
// flags[0] becomes 1 where a new weight, m or v is beyond 2^100, 2^62, 2^122 or no number, and stays otherwise: from
// within those bounds no update can leave the range of f32 (see update-range.ts), and bits cannot be fooled about NaN.
// Memory bound: 28 bytes per weight. Source: Loshchilov and Hutter, https://arxiv.org/abs/1711.05101, algorithm 2, with
// PyTorch's place of eps.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './adamw.wgsl?raw';

export const adamw = defineKernel({
  name: 'adamw',
  bindings: {
    param: 'read_write',
    grad: 'read',
    m: 'read_write',
    v: 'read_write',
    hyper: 'read',
    flags: 'read_write u32',
  },
  params: { N: 'weights', DECAY_START: 'first weight that decays', DECAY_END: 'weight after the last one that decays' },
  dynamic: { N: 'u32', DECAY_START: 'u32', DECAY_END: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ N, DECAY_START, DECAY_END }) => N % 4 === 0 && DECAY_START % 4 === 0 && DECAY_END % 4 === 0,
      grid: ({ N }, { WG }) => linearGrid(N / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ N }, { WG }) => linearGrid(N, WG) },
  ],
  cost: ({ N }) => ({ flops: 16 * N, bytes: 28 * N }),
  reference({ param, grad, m, v, hyper, flags }, { N, DECAY_START, DECAY_END }) {
    const [lr, beta1, beta2, eps, weightDecay, biasCorrection1, biasCorrection2, gradScale, rest1, rest2] = hyper;
    for (let i = 0; i < N; i++) {
      const g = gradScale * grad[i];
      const mean = beta1 * m[i] + rest1 * g;
      const square = beta2 * v[i] + rest2 * g * g;
      m[i] = mean;
      v[i] = square;
      const w = i >= DECAY_START && i < DECAY_END ? param[i] * (1 - lr * weightDecay) : param[i];
      param[i] = w - (lr * (mean / biasCorrection1)) / (Math.sqrt(square) / Math.sqrt(biasCorrection2) + eps);
      if (!(Math.abs(param[i]) <= 2 ** 100 && Math.abs(mean) <= 2 ** 62 && square <= 2 ** 122)) flags[0] = 1;
    }
  },
  sizes: ({ N }) => ({ param: N, grad: N, m: N, v: N, hyper: 10, flags: 1 }),
  cases: [
    { N: 1, DECAY_START: 0, DECAY_END: 1 },
    { N: 257, DECAY_START: 3, DECAY_END: 200 },
    { N: 1000, DECAY_START: 64, DECAY_END: 640 },
    { N: 68, DECAY_START: 0, DECAY_END: 68 },
    { N: 67, DECAY_START: 0, DECAY_END: 67 },
  ],
  testInput(name, { N }, random) {
    if (name === 'hyper')
      return new Float32Array([0.01, 0.9, 0.95, 1e-8, 0.1, 1 - 0.9 ** 3, 1 - 0.95 ** 3, 0.5, 0.1, 0.05]);
    if (name === 'flags') return new Uint32Array(1);
    // Two cases have one weight too many powers up.
    if (name === 'param' && (N === 67 || N === 68))
      return Float32Array.from({ length: N }, (_, i) => (i === 65 ? 2 ** 101 : random()));
    if (name === 'v') return Float32Array.from({ length: N }, () => random() ** 2);
    // Weights without a gradient must stay finite: 0 / (0 + eps).
    if (name === 'grad') return Float32Array.from({ length: N }, (_, i) => (i % 7 === 3 ? 0 : 2 * random() - 1));
    return undefined;
  },
});
