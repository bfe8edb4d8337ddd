// Gaussian error linear unit of x [N]: x P(X < x) for a standard normal X (TANH 0), or 0.5 x (1 + tanh(sqrt(2/pi) (x +
// 0.044715 x^3))) (TANH 1, GPT-2's form). Memory bound: 8 bytes per element. Source: Hendrycks and Gimpel,
// https://arxiv.org/abs/1606.08415, section 2.

import { erf } from '../../src/base/erf.ts';
import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './gelu.wgsl?raw';

export const gelu = defineKernel({
  name: 'gelu',
  bindings: { x: 'read', out: 'read_write' },
  params: { N: 'elements', TANH: '1 tanh form, 0 erf form' },
  dynamic: { N: 'u32' },
  variants: [
    {
      name: 'vec4',
      source,
      lanes: 4,
      tune: { WG: [64] },
      supports: ({ N }) => N % 4 === 0,
      grid: ({ N }, { WG }) => linearGrid(N / 4, WG),
    },
    { name: 'scalar', source, tune: { WG: [64] }, grid: ({ N }, { WG }) => linearGrid(N, WG) },
  ],
  cost: ({ N }) => ({ flops: 12 * N, bytes: 8 * N }),
  reference({ x, out }, { N, TANH }) {
    for (let i = 0; i < N; i++) {
      const v = x[i];
      const inner = TANH ? Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)) : erf(v / Math.SQRT2);
      out[i] = 0.5 * v * (1 + inner);
    }
  },
  sizes: ({ N }) => ({ x: N, out: N }),
  cases: [
    { N: 1, TANH: 1 },
    { N: 63, TANH: 0 },
    { N: 1028, TANH: 1 },
    { N: 1028, TANH: 0 },
  ],
  testInput: (name, { N }, random) =>
    name === 'x' ? Float32Array.from({ length: N }, () => 24 * random() - 12) : undefined,
});
