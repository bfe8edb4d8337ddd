// What people do in a room while a run is at work, with real tabs: come to look, help, pause, stop, duplicate a tab.
// The run belongs to those in it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PageDriver, tinyJob } from './page-driver.ts';
import type { Tab } from './page-driver.ts';

const KEY = 'A'.repeat(22);
const room = (name: string, more = '&auto=1'): string => `#room=${name}&key=${KEY}&broker=none&backend=cpu${more}`;

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

/** Two tabs that train for ever, at step 1. */
async function pair(
  profile: Awaited<ReturnType<PageDriver['profile']>>,
  name: string,
  config: Readonly<Record<string, unknown>> = {},
): Promise<[Tab, Tab]> {
  const first = await profile.open(room(name));
  await first.until('roster', ({ event }) => event?.type === 'roster');
  const second = await profile.open(`${room(name)}&plan=${tinyJob({ steps: 100_000, layout: 'dp=2', ...config })}`);
  await Promise.all([first.step(1), second.step(1)]);
  return [first, second];
}

const buttons = async (tab: Tab): Promise<string[]> =>
  (await tab.page.locator('tabmesh-app .actions button').allInnerTexts()).map((text) => text.trim());
const times = (tab: Tab, type: string): number => tab.reports.filter(({ event }) => event?.type === type).length;
/** Steps in the order in which they were made; a run that was restarted goes back. */
const steps = (tab: Tab): number[] => tab.reports.flatMap(({ event }) => (event?.metrics ? [event.metrics.step] : []));
const rising = (numbers: readonly number[]): boolean => numbers.every((n, i) => i === 0 || n === numbers[i - 1]! + 1);

describe('who comes while a run is at work', () => {
  it('sees it, may help or wait, and changes nothing', async () => {
    const profile = await driver.profile();
    const [first, second] = await pair(profile, 'watched', { sampleEvery: 3 });
    const watcher = await profile.open(room('watched', ''));
    await watcher.page.getByRole('button', { name: 'Join this room' }).click();
    await watcher.page.getByText(/^watching: .+ and .+ train, step \d+ of 100000/).waitFor();
    await expect.poll(() => buttons(watcher)).toEqual(['Help: be a spare']);
    const seen = async () => (await watcher.state()).run!;
    await expect.poll(async () => (await seen()).points).toBeGreaterThan(1);
    const { step } = await seen();
    await expect.poll(async () => (await seen()).step).toBeGreaterThan(step);
    expect(await watcher.page.locator('mesh-map li').count()).toBe(2);
    expect(await watcher.page.getByRole('list', { name: 'Tabs in this room' }).innerText()).toMatch(
      /rank 0 of 2[\s\S]*rank 1 of 2[\s\S]*watches/,
    );
    // Programs can press what people do not see.
    await watcher.page.evaluate(() =>
      (window as unknown as { tabmesh: { stop(): void; pause(): void } }).tabmesh.stop(),
    );
    await watcher.page.getByRole('button', { name: 'Help: be a spare' }).click();
    await watcher.page.getByText('this tab is a spare').waitFor();
    // A job of another tab waits for its turn, and its tab is told why.
    const wisher = await profile.open(`${room('watched')}&plan=${tinyJob({ steps: 2, layout: 'dp=2' })}`);
    await wisher.page
      .getByText(/this room is at work \('.+', '.+'\); your run waits|watching: .+ and .+ train/)
      .first()
      .waitFor();
    const before = steps(first).length;
    await expect.poll(() => steps(first).length).toBeGreaterThan(before + 3);
    for (const tab of [first, second]) {
      expect(times(tab, 'forming'), 'groups formed').toBe(1);
      expect(rising(steps(tab)), 'no step was made twice').toBe(true);
      expect((await tab.state()).problems).toEqual([]);
    }
    // One of those in the run ends it: both stop, and the job that waited is granted.
    await second.page.getByRole('button', { name: 'Stop', exact: true }).click();
    const told = (await watcher.until('act', ({ event }) => event?.type === 'act')).event as unknown as {
      act: string;
      by: { name: string; run: { rank: number } };
    };
    expect(told).toMatchObject({ act: 'stop', by: { name: expect.stringMatching(/ on /) as string } });
    await Promise.all([first, second].map((tab) => tab.until('end', ({ event }) => event?.kind === 'done')));
    await expect.poll(() => times(first, 'started')).toBe(2);
    expect((await watcher.state()).problems).toEqual([]);
  });
});

describe('a pause', () => {
  it('is told to all, and a stop of another tab ends it and the run', async () => {
    const profile = await driver.profile();
    const [first, second] = await pair(profile, 'paused');
    await second.page.getByRole('button', { name: 'Pause' }).click();
    await first.page
      .getByText(/.+ \(rank [01]\) paused the run; it goes on by itself after 5 min at the latest/)
      .waitFor();
    expect((await first.state()).phase).toBe('paused');
    await first.page.getByRole('button', { name: 'Stop', exact: true }).click();
    await Promise.all([first, second].map((tab) => tab.until('end', ({ event }) => event?.kind === 'done')));
  });
});
