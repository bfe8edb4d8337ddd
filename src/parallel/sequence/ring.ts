// Ring attention on contiguous runs of tokens (ring-attention.ts). Under a causal mask the last rank has the most to
// do. Source: Liu et al. 2023 (Ring Attention).

import { contiguous } from './placement.ts';
import { ringAttention } from './ring-attention.ts';
import type { SequenceStrategy } from './strategy.ts';

export const strategy: SequenceStrategy = {
  name: 'ring',
  placement: contiguous,
  serves: ['softmax'],
  attention: ringAttention,
};
