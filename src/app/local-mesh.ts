// Virtual devices: N workers of this tab, joined pairwise by message ports. The runtime cannot tell them from tabs; only the wire differs.
// Cost: N (N - 1) / 2 pairs of two channels. All of them share one GPU, so they show the scheme and the split of memory, not speed.

import { RankHost } from './rank-host.ts';

export function createLocalHosts(devices: number): readonly RankHost[] {
  return Array.from({ length: devices }, () => new RankHost());
}

/** Joins every pair; resolves when every worker has taken its lanes. A worker's rank is its index. */
export async function joinPairwise(hosts: readonly RankHost[]): Promise<void> {
  const adopted: Promise<void>[] = [];
  hosts.forEach((host, rank) => {
    for (let peer = rank + 1; peer < hosts.length; peer++) {
      const [control, bulk] = [new MessageChannel(), new MessageChannel()];
      adopted.push(host.adoptPorts(peer, control.port1, bulk.port1), hosts[peer]!.adoptPorts(rank, control.port2, bulk.port2));
    }
  });
  await Promise.all(adopted);
}
