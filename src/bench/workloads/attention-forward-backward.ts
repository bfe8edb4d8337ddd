// Causal attention forward and its gradients for q, k, v from dOut, 6 heads: four kernels, no T x T buffer.

import { attentionBackwardKeyValue, denseKeyValue } from '../../../shaders/attention/attention-backward-key-value.ts';
import { attentionBackwardQuery } from '../../../shaders/attention/attention-backward-query.ts';
import { attentionDelta } from '../../../shaders/attention/attention-delta.ts';
import { attention, denseAttention } from '../../../shaders/attention/attention.ts';
import { attentionProblem } from '../attention-problem.ts';
import { launchRunner } from '../launches.ts';
import type { Workload } from '../problem.ts';

const name = 'attention-forward-backward';

export const workload: Workload = {
  name,
  about: 'causal attention and its gradients, heads x T x head size',
  shapes: [
    { dims: { H: 6, T: 256, D: 64 }, scope: 'quick' },
    { dims: { H: 6, T: 1024, D: 64 }, scope: 'default' },
  ],
  tiny: { H: 2, T: 9, D: 8 },
  problem: (dims) => attentionProblem(name, dims, true),
  prepare(device, problem) {
    const { H, T, D } = problem.dims;
    const params = denseAttention({ HQ: H, TQ: T, D, CAUSAL: 1 });
    const { B, HQ, TQ, DV, O_OFF, O_B, O_H, O_T } = params;
    const n = H * T * D;
    const io = { q: 'q', k: 'k', v: 'v', dOut: 'dOut', lse: 'lse', delta: 'delta' };
    return launchRunner(device, problem, {
      scratch: { out: n, lse: H * T, delta: H * T, dQ: n, dKV: 2 * n },
      launches: [
        { kernel: attention, params, io: { q: 'q', k: 'k', v: 'v', out: 'out', lse: 'lse' } },
        {
          kernel: attentionDelta,
          params: { B, HQ, TQ, DV, O_OFF, O_B, O_H, O_T },
          io: { out: 'out', dOut: 'dOut', delta: 'delta' },
        },
        { kernel: attentionBackwardQuery, params: { ...params, ACCUMULATE: 0 }, io: { ...io, dQ: 'dQ' } },
        { kernel: attentionBackwardKeyValue, params: denseKeyValue(params), io: { ...io, dKV: 'dKV' } },
      ],
      outputs: {
        out: 'out',
        dQ: 'dQ',
        dK: { tensor: 'dKV', from: 0, length: n },
        dV: { tensor: 'dKV', from: n, length: n },
      },
    });
  },
};
