import { reduce, reduceBytes } from '../../../src/collectives/point/reduce.ts';
import { same, values } from '../../contracts/collective-contract.ts';
import type { CollectiveCall } from '../../support/simulated-calls.ts';

const rootOf = (salt: number, size: number): number => salt % size;

export const call: CollectiveCall = {
  name: 'reduce',
  async run(group, count, salt) {
    const { rank, size } = group;
    const root = rootOf(salt, size);
    const x = values(rank + salt, count);
    await reduce(group, x, root);
    if (rank !== root) return true;
    // In the order of the chain, rounded after each rank.
    const want = values(((root + 1) % size) + salt, count);
    for (let i = 2; i <= size; i++) {
      const own = values(((root + i) % size) + salt, count);
      for (const [k, value] of own.entries()) want[k] = want[k]! + value;
    }
    return same(x, want);
  },
  bytes: (rank, size, count, salt) => reduceBytes(rank, size, rootOf(salt, size), count),
};
