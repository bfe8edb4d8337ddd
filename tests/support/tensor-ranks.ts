// Recordings on two tensor ranks of this process, over loopback.

import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import type { Parallelism } from '../../src/model/parallelism.ts';
import { composeParallelism } from '../../src/parallel/compose.ts';
import { makeLayout } from '../../src/train/layout.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';

/** What `work` makes on each rank, at once. */
export async function onTensorRanks<T>(work: (parallelism: Parallelism) => Promise<T>): Promise<readonly T[]> {
  const layout = makeLayout({ tp: 2 });
  const nodes = loopbackMesh(2, realWorld);
  const results = await Promise.all(
    nodes.map(({ rank, links }) =>
      work(composeParallelism(createMesh({ layout, rank, links, ledger: createLedger() }))),
    ),
  );
  for (const node of nodes) node.leave();
  return results;
}
