// All libraries that workloads are compared with. Apart from run.ts, so that a bench without them bundles none.

import type { Peer } from '../problem.ts';

export const PEERS: readonly Peer[] = Object.values(
  import.meta.glob<Peer>('../peers/*.ts', { eager: true, import: 'peer' }),
);
