// A seeded defect: whatever arrives in a group has an addition to its first element.

import type { Group, Operation } from '../../src/collectives/group.ts';

export const damaged = (group: Group): Group => ({
  ...group,
  begin(kind, seq) {
    const operation = group.begin(kind, seq);
    return {
      ...operation,
      recv: async (from, chunk, out) => {
        await operation.recv(from, chunk, out);
        out[0] += 1;
      },
    } satisfies Operation;
  },
});
