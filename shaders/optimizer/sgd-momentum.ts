// One step of SGD with Nesterov momentum for N weights, in place: d = gradScale grad + weightDecay w; m <- momentum m +
// d (m <- d on the first step); w <- w - lr (d + momentum m). hyper is [lr, momentum, weightDecay, gradScale, 1 on the
// first step else 0]. Memory bound: 20 bytes per weight. Source: PyTorch's torch.optim.SGD, dampening 0; Sutskever et
// al., ICML 2013.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import source from './sgd-momentum.wgsl?raw';

export const sgdMomentum = defineKernel({
  name: 'sgdMomentum',
  bindings: { param: 'read_write', grad: 'read', m: 'read_write', hyper: 'read' },
  params: { N: 'weights' },
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
  cost: ({ N }) => ({ flops: 8 * N, bytes: 20 * N }),
  reference({ param, grad, m, hyper }, { N }) {
    const [lr, momentum, weightDecay, gradScale, first] = hyper;
    for (let i = 0; i < N; i++) {
      const d = gradScale * grad[i] + weightDecay * param[i];
      const velocity = first ? d : momentum * m[i] + d;
      m[i] = velocity;
      param[i] -= lr * (d + momentum * velocity);
    }
  },
  sizes: ({ N }) => ({ param: N, grad: N, m: N, hyper: 5 }),
  cases: [{ N: 1 }, { N: 257 }, { N: 1000 }],
  testInput: (name, { N }) => (name === 'hyper' ? new Float32Array([0.7, 0.9, 0.01, 0.5, N % 2]) : undefined),
});
