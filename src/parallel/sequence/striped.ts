// Ring attention on the striped placement: neighbours in a row lie on neighbouring ranks, which shares a causal mask
// almost evenly. Bytes as ring. Source: Brandon et al. 2023 (Striped Attention).

import { striped } from './placement.ts';
import { ringAttention } from './ring-attention.ts';
import type { SequenceStrategy } from './strategy.ts';

export const strategy: SequenceStrategy = {
  name: 'striped',
  placement: striped,
  serves: ['softmax'],
  attention: ringAttention,
};
