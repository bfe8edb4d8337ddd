// The run of a place in a room as the page shows it: names and adapters of the ranks, and why it ended.

import type { Place } from '../../../cluster/session.ts';
import type { RankEvent } from '../../../../workers/protocol.ts';
import { configOf } from '../job.ts';
import type { Job } from '../job.ts';
import { RunView } from '../run-view.ts';

/**
 * A view of the run that `job` describes, in this group. What was shown `before` of the same run stays, up to the step
 * that it goes on from.
 */
export function runOfPlace(job: Job, { members }: Pick<Place, 'members'>, before?: RunView): RunView {
  const run = new RunView(configOf(job));
  if (before && job.from) run.goOn(before, job.from.step);
  for (const view of run.ranks) {
    const { name, adapter, software } = members[view.rank] ?? { name: '', adapter: '', software: false };
    Object.assign(view, { name, adapter, software });
  }
  return run;
}

/** Why our rank ended, with the name of the tab at fault and, if there is one, what to do. */
export function failureSentence(
  { ranks }: RunView,
  { message, culprit }: Pick<Extract<RankEvent, { kind: 'failed' }>, 'message' | 'culprit'>,
  advice: string,
): string {
  const name = culprit === undefined ? '' : ranks[culprit]?.name;
  return `${message}${name ? ` (${name})` : ''}${culprit === undefined ? '' : advice}`;
}
