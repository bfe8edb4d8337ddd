// A run on virtual devices: as many ranks in this tab as the job's layout has.

import { worldSize } from '../../../base/axis.ts';
import { realWorld } from '../../../base/world.ts';
import type { RankEvent } from '../../../../workers/protocol.ts';
import { createLocalHosts, joinPairwise, prepareLocalHosts } from '../local-mesh.ts';
import { configOf, fetchContents, wishesOf } from '../job.ts';
import type { Job, JobContents } from '../job.ts';
import type { RankHost } from '../rank-host.ts';
import { RunView } from '../run-view.ts';
import type { PageLife } from './page-life.ts';

/** Resolves when the run is over. `address`: what jobs are relative to. */
export async function trainHere(
  page: PageLife,
  address: string,
  job: Job,
  given: JobContents,
  onRank: (run: RunView, rank: number, event: RankEvent) => void,
): Promise<void> {
  const signal = page.begin();
  let hosts: readonly RankHost[] = [];
  try {
    const config = configOf(job);
    const size = worldSize(config.layout);
    const run = new RunView(config);
    page.change({ run, status: `opening ${size} virtual device${size === 1 ? '' : 's'}` });
    const backend = await page.backend();
    signal.throwIfAborted();
    hosts = createLocalHosts(size, backend);
    page.hosts.hold(hosts);
    const reports = await Promise.all(hosts.map((host) => host.open(backend, hosts.length)));
    reports.forEach((report, rank) => run.opened(rank, report));
    const { checkpoint, ...files } = await fetchContents(job, address, given, page.loading, signal);
    page.change({ status: 'preparing text, tokens and weights' });
    await prepareLocalHosts(hosts, backend, { config: job.config, files, ...(checkpoint ? { checkpoint } : {}) });
    await joinPairwise(hosts);
    page.change({ phase: 'training', status: 'compiling kernels' });
    const setup = {
      run: new DataView(realWorld.randomBytes(4).buffer).getUint32(0),
      view: 1,
      stays: true,
      ...wishesOf(job),
    };
    await Promise.all(hosts.map((host, rank) => host.start({ rank, ...setup }, (event) => onRank(run, rank, event))));
  } catch (error) {
    if (!signal.aborted) page.fail(error);
  }
  // The devices of a run that is over stay for its model. By now another run may have begun with hosts of its own.
  if (page.hosts.all === hosts && page.state.stays) return;
  for (const host of hosts) host.close();
  if (page.hosts.all === hosts) page.hosts.take();
}
