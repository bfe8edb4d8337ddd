import { everywhere } from '../../../src/collectives/sparse/chunk-placement.ts';
import { sparseAllGather, sparseAllGatherBytes } from '../../../src/collectives/sparse/sparse-all-gather.ts';
import { same, values } from '../../contracts/collective-contract.ts';
import type { CollectiveCall } from '../../support/simulated-calls.ts';

const ownersOf = (size: number, salt: number): readonly number[] => [salt % size, (salt + 1) % size];

export const call: CollectiveCall = {
  name: 'sparse-all-gather',
  async run(group, count, salt) {
    const owners = ownersOf(group.size, salt);
    const chunks = owners.map((owner, i) => (owner === group.rank ? values(salt + i, count) : new Float32Array(count)));
    await sparseAllGather(group, everywhere(owners, group.size), chunks);
    return chunks.every((chunk, i) => same(chunk, values(salt + i, count)));
  },
  bytes: (rank, size, count, salt) =>
    sparseAllGatherBytes(rank, everywhere(ownersOf(size, salt), size), [count, count]),
};
