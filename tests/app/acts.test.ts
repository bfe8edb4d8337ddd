// What the buttons of a run tell its ranks, and what the page says of it.

import { describe, expect, it } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { RunActs } from '../../src/app/training/room/acts.ts';
import type { RankHost } from '../../src/app/training/rank-host.ts';
import { EMPTY_STATE } from '../../src/app/training/room/page-state.ts';
import type { PageState } from '../../src/app/training/room/page-state.ts';
import { RunView } from '../../src/app/training/run-view.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

/** A page that trains alone on two ranks, and what each was told. */
function lab(first: Partial<PageState>): { acts: RunActs; state: () => PageState; told: string[] } {
  const run = new RunView(parseRunConfig([['layout', 'dp=2']]));
  for (const rank of run.ranks) rank.own = true;
  run.ready = true;
  let state: PageState = { ...EMPTY_STATE, run, ...first };
  const told: string[] = [];
  const host = (rank: number): RankHost => {
    const tell = (what: string): Promise<void> => {
      told.push(`${rank} ${what}`);
      return Promise.resolve();
    };
    const calls = {
      pause: () => tell('pause'),
      resume: () => tell('resume'),
      request: (wish: object) => tell(Object.keys(wish).join()),
    };
    return calls as unknown as RankHost;
  };
  const hosts = [host(0), host(1)];
  const acts = new RunActs({
    world: realWorld,
    state: () => state,
    change: (change) => {
      state = { ...state, ...change };
    },
    session: () => undefined,
    hosts: () => hosts,
    takeHosts: () => hosts,
    wantFile: () => told.push('a file'),
    onStop: () => undefined,
  });
  return { acts, state: () => state, told };
}

describe('a wish', () => {
  it('of one checkpoint or sample is told to one rank, since ranks may be at different steps', () => {
    const { acts, told } = lab({ phase: 'training' });
    acts.want('save');
    acts.want('sample');
    expect(told).toEqual(['0 save', 'a file', '0 sample']);
  });
  it('that all ranks must follow is told to all', () => {
    const { acts, told } = lab({ phase: 'training' });
    acts.want('pause');
    acts.want('resume');
    acts.want('stop');
    expect(told).toEqual(['0 pause', '1 pause', '0 resume', '1 resume', '0 stop,save', '1 stop,save']);
  });
});

describe('what the page says', () => {
  const status = 'stopped after 66 steps';
  it.each([
    ['save', 'saving'],
    ['sample', 'writing'],
  ] as const)('of a run that is over comes back after a %s', (act, doing) => {
    const { acts, state } = lab({ phase: 'done', stays: true, status });
    acts.want(act);
    expect(state().status).toBe(doing);
    acts.served(act);
    expect(state().status).toBe(status);
  });
  it('comes back whichever of two wishes ends last', () => {
    const { acts, state } = lab({ phase: 'done', stays: true, status });
    acts.want('sample');
    acts.want('save');
    acts.served('sample');
    expect(state().status).toBe('saving');
    acts.served('save');
    expect(state().status).toBe(status);
  });
  it('of something else meanwhile stays', () => {
    const { acts, state } = lab({ phase: 'paused', status: 'paused' });
    acts.want('save');
    acts.want('resume');
    acts.served('save');
    expect(state().status).toBe('training');
  });
});
