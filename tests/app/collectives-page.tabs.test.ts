// The collectives page as a person meets it, in real Chromium: tabs opened by hand, ranks in frames, a stop midway, a
// tab that is closed, files to take away.

import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CollectivesState } from '../../src/app/collectives/controller.ts';
import { scaledLimit } from '../support/patience.ts';
import { alsoTest } from '../support/sample.ts';
import { PageDriver } from './page-driver.ts';

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

function state(page: Page): Promise<CollectivesState> {
  return page.evaluate(
    () => (window as unknown as { tabmeshCollectives: { state: CollectivesState } }).tabmeshCollectives.state,
  );
}
async function until(page: Page, what: string, fits: (state: CollectivesState) => boolean): Promise<CollectivesState> {
  await expect.poll(async () => fits(await state(page)), { interval: 100, message: what }).toBe(true);
  return state(page);
}
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

it('three tabs, opened by hand: rows, chart, summary, Markdown and JSON; run again, then a tab is closed', async () => {
  const { open, context } = await driver.profile();
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const { page } = await open('collectives.html#tabs=3&sizes=4KiB,64KiB&only=all-reduce,all-to-all,barrier&rounds=1');
  await button(page, 'Run').click();
  for (const missing of [2, 1]) {
    await page.getByText(`waiting for ${missing} more tab`).waitFor();
    const opened = context.waitForEvent('page');
    await page.getByRole('link', { name: 'Open a tab' }).click();
    await opened;
  }
  const done = await until(page, 'the end', ({ phase, status }) => phase === 'ready' && status === 'done');
  expect(done.problems).toEqual([]);
  expect(done.rows.map(({ collective, bytes, wrong, ranks }) => [collective, bytes, wrong, ranks])).toEqual([
    ['all-reduce', 4096, 0, 3],
    ['all-reduce', 65536, 0, 3],
    ['all-to-all', 4092, 0, 3],
    ['all-to-all', 65532, 0, 3],
    ['barrier', 0, 0, 3],
  ]);
  expect(done.report).toMatchObject({
    ranks: 3,
    adapter: expect.stringMatching(/\w/),
    browser: expect.stringMatching(/Chrom\w+ \d/),
  });
  expect(await page.locator('tr[data-collective] td.yes').count()).toBe(5);
  await page.locator('bandwidth-chart[curves="3"]').waitFor();
  await page.getByText('every element of every result was exactly right').waitFor();
  await button(page, 'Copy JSON').click();
  await page.getByText('the JSON is in the clipboard').waitFor();
  expect(JSON.parse(await page.evaluate(() => navigator.clipboard.readText()))).toEqual(done.report);
  await button(page, 'Copy Markdown').click();
  await page.getByText('the Markdown is in the clipboard').waitFor();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toMatch(
    /- 3 tabs, links: webrtc worker\n[^]*\| all-reduce \| 64 KiB \| tabmesh \|/,
  );
  await page.setViewportSize({ width: 390, height: 800 });
  expect(
    await page.evaluate(() => document.documentElement.scrollWidth),
    'width of the page on a phone',
  ).toBeLessThanOrEqual(390);

  // A reload loses nothing.
  await page.reload();
  const again = await until(page, 'the last run', ({ rows }) => rows.length > 0);
  expect(again).toMatchObject({
    phase: 'ready',
    report: done.report,
    status: expect.stringMatching(/^ready; below is the last run of this browser/),
  });
  expect(await page.locator('tr[data-collective] td.yes').count()).toBe(5);

  // The tabs are still there; one goes away midway.
  const rank = context.pages()[1];
  await rank.getByText('this tab waits for the next').waitFor();
  await page.evaluate(() => {
    location.hash = 'tabs=3&sizes=1MiB&only=all-reduce&rounds=100&run=1';
  });
  await page.getByText('waiting for 2 more tabs').waitFor();
  for (const missing of [2, 1]) {
    await page.getByText(`waiting for ${missing} more tab`).waitFor();
    const opened = context.waitForEvent('page');
    await page.getByRole('link', { name: 'Open a tab' }).click();
    await opened;
  }
  await until(page, 'the rounds', ({ status }) => status.startsWith('all-reduce'));
  await context.pages().at(-1)!.close();
  const failed = await until(page, 'the end', ({ phase }) => phase === 'ready');
  expect(failed.problems).toHaveLength(1);
  expect(failed.problems[0]).toMatch(/^rank \d (left|closed)/);
});

alsoTest('a guest that crashes ends the run with what was measured, within 10 s', async () => {
  const { open, context } = await driver.profile();
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const { page } = await open('collectives.html#tabs=2&sizes=4KiB,16MiB&only=send,all-reduce&rounds=20&run=1');
  const opened = context.waitForEvent('page');
  await page.getByRole('link', { name: 'Open a tab' }).click();
  const guest = await opened;
  // The first row is there, and the next takes a while.
  await until(page, 'a row', ({ rows }) => rows.length > 0);
  const allowedMs = scaledLimit(10_000);
  const crashedAtMs = performance.now();
  const session = await context.newCDPSession(guest);
  // The answer never comes: the process that would send it is gone.
  void session.send('Page.crash').catch(() => undefined);
  const failed = await until(page, 'the end', ({ phase }) => phase === 'ready');
  expect(performance.now() - crashedAtMs).toBeLessThan(scaledLimit(10_000, allowedMs));
  expect(failed.problems).toEqual([expect.stringMatching(/^rank 1 (is gone|closed|left|silent)/)]);
  expect(failed.status).toBe('failed; the results so far are below');
  await button(page, 'Copy JSON').click();
  await page.getByText('the JSON is in the clipboard').waitFor();
  const kept = JSON.parse(await page.evaluate(() => navigator.clipboard.readText())) as CollectivesState['report'];
  expect(kept).toMatchObject({ end: 'failed', problem: failed.problems[0], ranks: 2, links: ['webrtc worker'] });
  expect(kept!.results).toEqual(failed.rows);
  await button(page, 'Copy Markdown').click();
  await page.getByText('the Markdown is in the clipboard').waitFor();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain(
    `- failed: ${failed.problems[0]!}; the rows until then`,
  );
});

alsoTest('tabs of two browsers meet by the broker, after a click in the one that was invited', async () => {
  const { page } = await (
    await driver.profile()
  ).open('collectives.html#tabs=2&sizes=4KiB&only=all-reduce,barrier&rounds=1&meet=broker&run=1');
  await page.getByText('waiting for 1 more tab').waitFor();
  const link = await page.evaluate(
    () => (window as unknown as { tabmeshCollectives: { joinUrl: string } }).tabmeshCollectives.joinUrl,
  );
  expect(link).toMatch(/#join=[0-9a-f]{12}&key=[\w-]{22}$/);
  // Another profile shares no channel, lock or storage with the first.
  const guest = (await (await driver.profile()).open(link.slice(driver.address.length))).page;
  await guest.getByText('They see your network address.').waitFor();
  expect((await state(page)).missingTabs).toBe(1);
  await button(guest, 'Join').click();
  const done = await until(page, 'the end', ({ phase }) => phase === 'ready');
  expect(done.problems).toEqual([]);
  expect(done.rows.map(({ collective, wrong }) => [collective, wrong])).toEqual([
    ['all-reduce', 0],
    ['barrier', 0],
  ]);
  await guest.getByText('this tab waits for the next').waitFor();
  // The guest stays for the next run.
  await page.evaluate(() => (window as unknown as { tabmeshCollectives: { run(): void } }).tabmeshCollectives.run());
  await until(page, 'the second end', ({ status, rows }) => status === 'done' && rows.length === 2);
});

alsoTest('ranks in frames, stopped midway: what was measured stays', async () => {
  const { page } = await (
    await driver.profile()
  ).open('collectives.html#tabs=2&sizes=4KiB,4MiB&only=send,all-reduce&rounds=50&frames=1&run=1');
  await until(page, 'the first row', ({ rows }) => rows.length > 0);
  await button(page, 'Stop').click();
  const stopped = await until(page, 'the stop', ({ phase }) => phase === 'ready');
  expect(stopped).toMatchObject({
    status: 'stopped; the results so far are below',
    problems: [],
    report: { end: 'stopped' },
  });
  expect(stopped.rows[0]).toMatchObject({ collective: 'send', bytes: 4096, wrong: 0 });
});

it('a part of the form stays open when its last choice is taken back', async () => {
  const { page } = await (await driver.profile()).open('collectives.html#tabs=2');
  for (const [part, choice] of [
    ['Beside other libraries', 'simple-peer'],
    ['Where the ranks are', 'frames of this page'],
  ] as const) {
    await page.getByText(part).click();
    const box = page.getByRole('checkbox', { name: choice });
    await box.focus();
    for (const checked of [true, false]) {
      await page.keyboard.press('Space');
      await expect.poll(() => box.isChecked()).toBe(checked);
      await expect
        .poll(async () => (await state(page)).settings.peers.length > 0 || (await state(page)).settings.frames)
        .toBe(checked);
    }
    expect(await box.isVisible()).toBe(true);
  }
  await page.keyboard.press('Shift+Tab');
  expect(await page.getByRole('checkbox', { name: 'tabs of other browsers' }).isVisible()).toBe(true);
});

it('a link that it does not understand is told', async () => {
  const { page } = await (await driver.profile()).open('collectives.html#tabs=99');
  await page.getByRole('alert').getByText('link: tabs is "99"; expected a whole number from 2 to 8').waitFor();
  // The form is there all the same.
  await button(page, 'Run').waitFor();
});
