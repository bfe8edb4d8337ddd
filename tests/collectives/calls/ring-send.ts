import { ringSend, ringSendBytes } from '../../../src/collectives/ring-send.ts';
import { same, values } from '../../contracts/collective-contract.ts';
import type { CollectiveCall } from '../../support/simulated-calls.ts';

/** 1, or -1. */
const offsetOf = (salt: number): number => (salt % 2 ? 1 : -1);

export const call: CollectiveCall = {
  name: 'ring-send',
  async run(group, count, salt) {
    const { rank, size } = group;
    const offset = offsetOf(salt);
    const out = new Float32Array(count);
    await ringSend(group, values(rank + salt, count), out, offset);
    return same(out, values(((rank - offset + size) % size) + salt, count));
  },
  bytes: (_, size, count, salt) => ringSendBytes(size, count, offsetOf(salt)),
};
