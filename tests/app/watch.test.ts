// What a page takes of the runs that others tell of.

import { expect, it } from 'vitest';
import type { Presence } from '../../src/cluster/presence.ts';
import { makeJob } from '../../src/app/training/job.ts';
import { historyOf } from '../../src/app/training/room/news.ts';
import { RoomWatch } from '../../src/app/training/room/watch.ts';
import { RunView } from '../../src/app/training/run-view.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { presence } from '../cluster/support.ts';

const config = parseRunConfig([
  ['layout', 'dp=2'],
  ['data', 'copy'],
]);
const known = { view: new RunView(config), job: makeJob(config) };
const holds = (run: number): Presence['holds'] => ({ run, step: 5, hash: 'ab'.repeat(32), bytes: 100 });
const work = { run: 9, wish: 1, view: 1, rank: 0, size: 2, phase: 'training' } as const;

/** The runs that a page which knows run 9 takes over, when somebody tells of run 7. */
function taken(me: Presence, ...others: readonly Presence[]): readonly number[] {
  const runs: number[] = [];
  const teller = presence(5, { holds: holds(7) });
  const watch = new RoomWatch({
    session: () => ({ me, members: [me, ...others, teller], ask: () => {}, tell: () => {} }),
    now: () => 0,
    own: (run) => (run === 9 ? known : undefined),
    onKnown: ({ run }) => runs.push(run),
    onWatched: () => {},
  });
  watch.news(7, historyOf(known.view, known.job), teller);
  return runs;
}

it('a run that somebody keeps is taken over, unless one that we know is at work here or can go on', () => {
  expect(taken(presence(0))).toEqual([7]);
  expect(taken(presence(0), presence(1, { holds: holds(8) }))).toEqual([7]);
  expect(taken(presence(0, { run: work }))).toEqual([]);
  expect(taken(presence(0), presence(1, { holds: holds(9) }))).toEqual([]);
  expect(taken(presence(0, { holds: holds(9) }))).toEqual([]);
});
