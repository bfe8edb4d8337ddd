// Softmax attention. With a sequence that is split over ranks it is the attention of the sequence strategy.

import type { Mixer } from '../mixer.ts';

export const mixer: Mixer = {
  name: 'softmax',
  mix: (c, _layer, qkv, attrs) => c.parallelism.attention(c.tape, qkv, attrs),
};
