// Everything that our rank needs before it meets the others: an open device, the files of the job, and the run made of
// them.

import type { Place } from '../../../cluster/session.ts';
import type { Backend } from '../../../../workers/protocol.ts';
import { checkRanks, configOf, fetchContents, parseJob } from '../job.ts';
import type { OnLoading } from '../job.ts';
import type { RankHost } from '../rank-host.ts';
import type { RunView } from '../run-view.ts';
import type { RoomFiles } from './files/room-files.ts';

export interface RankOptions {
  readonly backend: Backend;
  /** Address that jobs are relative to. */
  readonly page: string;
  readonly files: Pick<RoomFiles, 'of'>;
  readonly run: RunView | undefined;
  readonly onStatus: (text: string) => void;
  readonly onLoading: OnLoading;
  readonly signal: AbortSignal;
}

/** Rejects with ConfigError for a job that this page cannot train, or a file that it cannot load. */
export async function prepareRank(
  host: RankHost,
  place: Place,
  { backend, page, files, run, onStatus, onLoading, signal }: RankOptions,
): Promise<void> {
  const job = parseJob(place.plan);
  checkRanks(configOf(job), place.worldSize);
  run?.opened(place.rank, await host.open(backend));
  const { checkpoint, ...contents } = await fetchContents(job, page, {}, onLoading, signal);
  const shared = files.of(
    job,
    place.members.map(({ name }) => name),
  );
  if (!shared) onStatus('preparing text, tokens and weights');
  await host.prepare({
    config: job.config,
    files: contents,
    ...(checkpoint ? { checkpoint } : {}),
    ...(shared ? { shared } : {}),
  });
  onStatus('connecting to the other tabs');
}
