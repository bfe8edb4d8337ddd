// A mixer for tests: each head averages the values of the tokens so far. That is attention whose scores are all 0, so
// it needs no kernel of its own.

import type { Mixer } from '../../src/model/mixing/mixer.ts';

export const mixer: Mixer = {
  name: 'average',
  mix: (c, _layer, qkv, attrs) => c.parallelism.attention(c.tape, qkv, { ...attrs, scale: 0 }),
};
