// Virtual devices: N ranks in workers of this tab, joined pairwise by message ports. The runtime cannot tell them from
// tabs; only the wire differs. On WebGPU they are in one worker, on one GPUDevice: each pipeline is compiled once, text
// and weights are made once. WebAssembly and the references compute on the thread of their worker, so there each rank
// has a worker of its own. Cost: N (N - 1) / 2 pairs of two channels. All of them share one machine, so they show the
// scheme and the split of memory, not speed.

import type { Backend, RankPreparation } from '../../../workers/protocol.ts';
import { RankHost, RankWorker } from './rank-host.ts';

export function createLocalHosts(devices: number, backend: Backend): readonly RankHost[] {
  const shared = backend === 'webgpu' ? new RankWorker() : undefined;
  return Array.from({ length: devices }, () => new RankHost(shared));
}

/** Prepares the hosts that createLocalHosts made for `backend`. */
export async function prepareLocalHosts(
  hosts: readonly RankHost[],
  backend: Backend,
  preparation: RankPreparation,
): Promise<void> {
  if (backend !== 'webgpu') {
    await Promise.all(hosts.map((host) => host.prepare(preparation)));
    return;
  }
  const [first, ...others] = hosts;
  await first!.prepare(preparation);
  await Promise.all(others.map((host) => host.prepareAlike()));
}

/** Joins every pair; resolves when every rank has taken its lanes. A host's rank is its index. */
export async function joinPairwise(hosts: readonly RankHost[]): Promise<void> {
  const adopted: Promise<void>[] = [];
  hosts.forEach((host, rank) => {
    for (let peer = rank + 1; peer < hosts.length; peer++) {
      const [control, bulk] = [new MessageChannel(), new MessageChannel()];
      adopted.push(
        host.adoptPorts(peer, control.port1, bulk.port1),
        hosts[peer]!.adoptPorts(rank, control.port2, bulk.port2),
      );
    }
  });
  await Promise.all(adopted);
}
