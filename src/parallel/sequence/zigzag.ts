// Ring attention on the zigzag placement: every rank has the same share of a causal mask. Bytes as ring.
// Source: Zhu 2024 (zigzag ring flash attention), whose fixed halves are here what the mask of intervals passes over.

import { zigzag } from './placement.ts';
import { ringAttention } from './ring-attention.ts';
import type { SequenceStrategy } from './strategy.ts';

export const strategy: SequenceStrategy = {
  name: 'zigzag',
  placement: zigzag,
  serves: ['softmax'],
  attention: ringAttention,
};
