// Causal attention, forward only: out = softmax(q k^T / sqrt(D)) v, 6 heads.

import { attention, denseAttention } from '../../../shaders/attention/attention.ts';
import { attentionProblem } from '../attention-problem.ts';
import { launchRunner } from '../launches.ts';
import type { Workload } from '../problem.ts';

const name = 'attention-forward';

export const workload: Workload = {
  name,
  about: 'causal attention, heads x T x head size',
  shapes: [
    { dims: { H: 6, T: 256, D: 64 }, scope: 'quick' },
    { dims: { H: 6, T: 1024, D: 64 }, scope: 'default' },
  ],
  tiny: { H: 2, T: 9, D: 8 },
  problem: (dims) => attentionProblem(name, dims, false),
  prepare(device, problem) {
    const { H, T, D } = problem.dims;
    return launchRunner(device, problem, {
      scratch: { out: H * T * D, lse: H * T },
      outputs: { out: 'out' },
      launches: [
        {
          kernel: attention,
          params: denseAttention({ HQ: H, TQ: T, D, CAUSAL: 1 }),
          io: { q: 'q', k: 'k', v: 'v', out: 'out', lse: 'lse' },
        },
      ],
    });
  },
};
