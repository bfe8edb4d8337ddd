// What the page says in its elements, without a browser: the templates that they draw, as data.

import { describe, expect, it } from 'vitest';
import { TabmeshApp } from '../../src/app/training/elements/app.ts';
import { RunHistory } from '../../src/app/training/elements/run-history.ts';
import { keep } from '../../src/app/training/history/kept-run.ts';
import type { Outcome } from '../../src/app/training/history/kept-run.ts';
import { EMPTY_STATE } from '../../src/app/training/room/page-state.ts';
import type { PageState } from '../../src/app/training/room/page-state.ts';
import { RunView } from '../../src/app/training/run-view.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

/** As much of a lit template as tells what it draws. */
interface Template {
  readonly strings: readonly string[];
  readonly values: readonly unknown[];
}
const isTemplate = (value: unknown): value is Template =>
  typeof value === 'object' && value !== null && 'strings' in value;

/** What is given to the attributes or properties called `name`, in all templates within. */
function givenTo(drawn: unknown, name: string): unknown[] {
  if (Array.isArray(drawn)) return drawn.flatMap((one) => givenTo(one, name));
  if (!isTemplate(drawn)) return [];
  const { strings, values } = drawn;
  return values.flatMap((value, i) => (strings[i]!.endsWith(` ${name}=`) ? [value] : givenTo(value, name)));
}

/** All that it says, attributes included; white space counts once, as on the page. */
function wordsOf(drawn: unknown): string {
  return textOf(drawn).replaceAll(/\s+/g, ' ');
}

function textOf(drawn: unknown): string {
  if (Array.isArray(drawn)) return drawn.map(textOf).join('');
  if (!isTemplate(drawn)) return typeof drawn === 'string' || typeof drawn === 'number' ? String(drawn) : '';
  return drawn.strings.map((text, i) => text + textOf(drawn.values[i])).join('');
}

function page(state: Partial<PageState>, busy = false): TabmeshApp {
  const app = new TabmeshApp();
  const settings = { auto: false, backend: 'cpu', ice: { iceServers: [], relayOnly: false } };
  return Object.assign(app, {
    settings,
    controller: { busy },
    past: { runs: [], trouble: '' },
    state: { ...EMPTY_STATE, ...state },
  }) as TabmeshApp;
}

describe('the page', () => {
  it('draws the layout of the run that it watches, else the one of the form', () => {
    const config = parseRunConfig([['layout', 'dp=2']]);
    const watched = page({ run: new RunView(config), watching: [] });
    expect(watched.draft.config.layout).not.toEqual(config.layout);
    expect(givenTo(watched.render(), '.config')).toEqual([config]);
    const idle = page({ run: new RunView(config), phase: 'done' });
    expect(givenTo(idle.render(), '.config')).toEqual([idle.draft.config]);
  });
});

describe('the numbers of a run', () => {
  it('have the memory of all ranks, or say of how many it is', () => {
    const run = new RunView(parseRunConfig([['layout', 'dp=3']]));
    const memory = (): string => /memory<\/span><b>(.*?)<\/b>/.exec(wordsOf(page({ run }, true).render()))![1]!;
    expect(memory()).toBe('not known yet');
    run.ranks[0]!.memoryBytes = 2 ** 20;
    expect(memory()).toBe('1.0 MB on 1 of 3 ranks');
    for (const rank of run.ranks.slice(1)) rank.expectedBytes = 2 ** 20;
    expect(memory()).toBe('about 3.1 MB');
    for (const rank of run.ranks) rank.memoryBytes = 2 ** 20;
    expect(memory()).toBe('3.1 MB');
  });
});

describe('where there is no sample', () => {
  const hint = (steps: number, state: Partial<PageState>): string => {
    const run = new RunView(
      parseRunConfig([
        ['steps', String(steps)],
        ['sampleEvery', '50'],
      ]),
    );
    run.step = 6;
    return wordsOf(page({ run, ...state }, true).render());
  };
  it('promises one only of a run that goes on, and comes to it', () => {
    const first = 'the first sample comes after step 50';
    for (const state of [{ phase: 'training' }, { phase: 'paused' }, { phase: 'idle', watching: [] }] as const)
      expect(hint(50, state)).toContain(first);
    for (const phase of ['stopping', 'done', 'failed', 'idle'] as const) {
      expect(hint(50, { phase })).toContain('the run ended without a sample');
      expect(hint(50, { phase })).not.toContain(first);
    }
    expect(hint(49, { phase: 'training' })).toContain('a sample comes every 50 steps, and the run has 49');
  });
});

describe('the buttons', () => {
  it('are one primary at most: to go on with a lost run comes before another one', () => {
    const primaries = (state: Partial<PageState>): number =>
      givenTo(page(state).render(), 'class').filter((its) => its === 'main primary').length +
      (wordsOf(page(state).render()).match(/class="primary"/g)?.length ?? 0);
    expect(primaries({})).toBe(1);
    expect(wordsOf(page({ phase: 'failed', goOn: 5 }).render())).toContain('Go on from step 5');
    expect(primaries({ phase: 'failed', goOn: 5 })).toBe(1);
  });
});

describe('a row of the history', () => {
  it('says whether its run trains here, ended, or was left', () => {
    const row = (outcome: Outcome, atWork?: string): string => {
      const before = { id: 'a', name: 'my run', startedAtMs: 0, checkpoints: [] };
      const run = keep(new RunView(parseRunConfig([['steps', 9]])), outcome, { nowMs: 0, dateMs: 0 }, before);
      return wordsOf(Object.assign(new RunHistory(), { runs: [run], atWork }).render());
    };
    expect(row('running', 'a')).toContain(', training at step 0 of 9');
    for (const atWork of [undefined, 'b']) expect(row('running', atWork)).toContain(', not ended at step 0 of 9');
    expect(row('done', 'a')).toContain(', done at step 0 of 9');
  });
});
