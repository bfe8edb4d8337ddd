import { scan, scanBytes } from './scan.ts';
import { same, sum, values } from '../../contracts/collective-contract.ts';
import type { CollectiveCall } from '../../support/simulated-calls.ts';

export const call: CollectiveCall = {
  name: 'scan',
  async run(group, count, salt) {
    const x = values(group.rank + salt, count);
    await scan(group, x);
    return same(x, sum(group.rank + 1, count, salt));
  },
  bytes: scanBytes,
};
