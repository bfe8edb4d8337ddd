// Files of one tab in the runs of a room, and runs that go on after a loss, with real tabs on the references.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { PageDriver, tinyJob } from './page-driver.ts';
import type { Tab } from './page-driver.ts';
import { configOf } from '../../src/app/training/job.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { alsoTest } from '../support/sample.ts';

const KEY = 'A'.repeat(22);
const room = (name: string, more = '&auto=1'): string => `#room=${name}&key=${KEY}&broker=none&backend=cpu${more}`;

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

const TEXT = 'it is not down in any map; true places never are. '.repeat(200);

it('a room of three trains a text that was dropped on one of its tabs', async () => {
  const profile = await driver.profile();
  const first = await profile.open(room('text'));
  await first.until('roster', ({ event }) => event?.type === 'roster');
  const second = await profile.open(room('text'));
  const own = await profile.open(
    `${room('text', '')}&plan=${tinyJob({ data: 'moby-dick', layout: 'dp=3', batch: 6, microbatches: 1, steps: 3 })}`,
  );
  await own.page.getByRole('button', { name: 'Join this room' }).click();
  await own.page.getByRole('button', { name: 'Train with 3 tabs' }).waitFor();
  await own.page
    .locator('input[type=file]')
    .setInputFiles({ name: 'map.txt', mimeType: 'text/plain', buffer: Buffer.from(TEXT) });
  await own.page.getByRole('button', { name: 'Train with 3 tabs' }).click();
  const tabs: Tab[] = [first, second, own];
  await Promise.all(tabs.map((tab, rank) => tab.done(rank)));
  const came = tabs.map((tab) =>
    tab.reports.filter(({ event }) => event?.kind === 'file').map(({ event }) => event!['file']),
  );
  expect(came).toEqual([
    [expect.objectContaining({ name: 'map.txt', bytes: TEXT.length })],
    [expect.objectContaining({ name: 'map.txt', bytes: TEXT.length })],
    [],
  ]);
  expect(new Set(tabs.map((tab, rank) => JSON.stringify(tab.losses(rank)))).size).toBe(1);
  for (const tab of tabs) expect((await tab.state()).problems).toEqual([]);
});

/** Opens tabs `from` up to `to` of a room; each is in the roster before the next comes, so that they stand in order. */
async function openAll(
  profile: Awaited<ReturnType<PageDriver['profile']>>,
  name: string,
  count: number,
  last = '',
): Promise<Tab[]> {
  const tabs: Tab[] = [];
  for (let i = 0; i < count; i++) {
    tabs.push(await profile.open(room(name) + (i === count - 1 ? last : '')));
    await tabs[i]!.until('roster', ({ event }) => event?.type === 'roster');
  }
  return tabs;
}

/** The renderer is gone without a word. */
async function crash(tab: Tab): Promise<void> {
  const session = await tab.page.context().newCDPSession(tab.page);
  // Nobody is left to answer.
  void session.send('Page.crash').catch(() => undefined);
}

/** Whatever went wrong before. */
const ended = (tab: Tab, steps: number) =>
  expect.poll(() => tab.reports.some(({ event }) => event?.kind === 'done' && event['steps'] === steps)).toBe(true);

/** By step, as one tab saw them in the order that they came; a step that was made again is twice in it. */
const stepsOf = (tab: Tab): (readonly [number, number])[] =>
  tab.reports.flatMap(({ event }) => (event?.metrics ? [[event.metrics.step, event.metrics.loss] as const] : []));

it('a room goes on by itself from the last checkpoint when a tab crashes, with a spare, equal in every digit', async () => {
  const config = { layout: 'dp=2,pp=2', batch: 8, steps: 60, checkpointEvery: 10 };
  const profile = await driver.profile();
  const job = tinyJob(config, { onLoss: 'resume' });
  const tabs = await openAll(profile, 'loss', 4);
  const spare = await profile.open(`${room('loss')}&plan=${job}`);
  await spare.until('roster', ({ event }) => event?.type === 'roster');
  tabs.push(spare);
  await Promise.all([0, 1, 2].map((i) => tabs[i]!.step(25)));
  const out = tabs.findIndex((tab) => tab.reports.some(({ rank }) => rank === 2));
  const idle = tabs.findIndex((tab) => !tab.reports.some(({ type }) => type === 'rank'));
  await crash(tabs[out]!);
  const stay = tabs.filter((_, i) => i !== out);
  await Promise.all(stay.map((tab) => ended(tab, 60)));
  const ends = tabs[idle]!.reports.find(({ event }) => event?.kind === 'done')!.event!;
  expect(ends['from']).toBeGreaterThanOrEqual(20);

  const whole = new Map<number, number>();
  const alone = configOf({ config: JSON.parse(decodeURIComponent(job)).config as Record<string, unknown>, files: {} });
  await runInProcess({
    backend: 'cpu',
    config: alone,
    files: {},
    onEvent: (rank, event) => {
      if (rank === 0 && event.kind === 'step') whole.set(event.metrics.step, event.metrics.loss);
    },
  });
  for (const tab of stay) for (const [step, loss] of stepsOf(tab)) expect(loss, `step ${step}`).toBe(whole.get(step));
  // The curve goes on without a step twice.
  const [survivor] = stay;
  expect((await survivor!.state()).run).toMatchObject({ step: 60, points: 60 });
});

alsoTest(
  'whoever is in the room may let it go on, also one who came later; the checkpoint comes to who lacks it',
  async () => {
    const profile = await driver.profile();
    const [first, second] = await openAll(
      profile,
      'button',
      2,
      `&plan=${tinyJob({ layout: 'dp=2', steps: 40, checkpointEvery: 5, data: 'copy' })}`,
    );
    await Promise.all([first!.step(12), second!.step(12)]);
    await crash(first!);
    await second!.page.getByRole('button', { name: /^Go on from step \d+$/ }).waitFor();
    const later = await profile.open(room('button'));
    await later.page.getByRole('button', { name: /^Go on from step \d+$/ }).click();
    await Promise.all([second!, later].map((tab) => ended(tab, 40)));
    expect(later.reports.find(({ event }) => event?.kind === 'file')?.event!['file']).toMatchObject({
      name: expect.stringMatching(/^checkpoint of step \d+$/) as string,
    });
  },
);
