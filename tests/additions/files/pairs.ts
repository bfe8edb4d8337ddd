// Ring attention on pairs of tokens that are dealt out in turn: rank r holds tokens 2 r and 2 r + 1 of every 2 P.

import { ringAttention } from '../../../src/parallel/sequence/ring-attention.ts';
import type { SequenceStrategy } from '../../../src/parallel/sequence/strategy.ts';

export const strategy: SequenceStrategy = {
  name: 'pairs',
  placement: {
    name: 'pairs',
    tokens: (size, context) => 2 * Math.ceil(context / (2 * size)),
    column: (rank, t, size) => 2 * (size * Math.floor(t / 2) + rank) + (t % 2),
  },
  serves: ['softmax'],
  attention: ringAttention,
};
