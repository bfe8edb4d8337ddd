import { everywhere } from '../../../src/collectives/sparse/chunk-placement.ts';
import {
  sparseReduceScatter,
  sparseReduceScatterBytes,
} from '../../../src/collectives/sparse/sparse-reduce-scatter.ts';
import { same, sum, values } from '../../contracts/collective-contract.ts';
import type { CollectiveCall } from '../../support/simulated-calls.ts';

export const call: CollectiveCall = {
  name: 'sparse-reduce-scatter',
  async run(group, count, salt) {
    const owner = salt % group.size;
    const chunk = values(group.rank + salt, count);
    await sparseReduceScatter(group, everywhere([owner], group.size), [chunk]);
    return same(chunk, group.rank === owner ? sum(group.size, count, salt) : values(group.rank + salt, count));
  },
  bytes: (rank, size, count, salt) => sparseReduceScatterBytes(rank, everywhere([salt % size], size), [count]),
};
