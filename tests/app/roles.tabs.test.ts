// Roles with real tabs: the owner of a room restricts it by the share panel and removes a member.

import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { RealTabs } from '../support/real-tabs.ts';
import { PageDriver } from './page-driver.ts';
import type { Tab } from './page-driver.ts';

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

const members = async (tab: Tab): Promise<number> =>
  ((await tab.state()) as unknown as { members?: unknown[] }).members?.length ?? 0;

it('who opened a room says who may start runs, and removes a member, who is told why', async () => {
  const profile = await driver.profile();
  const owner = await profile.open('#backend=cpu');
  const opened = profile.context.waitForEvent('page');
  await owner.page.getByRole('button', { name: 'Add a tab' }).click();
  const guest = await opened;
  await expect.poll(() => members(owner)).toBe(2);
  await owner.page.getByLabel('Who may start runs').selectOption('owner');
  await guest
    .getByText('the owner alone may start runs and remove others; all may pause and stop runs')
    .first()
    .waitFor();
  // Named, the guest may start them after all.
  await owner.page.getByLabel('Who may start runs').selectOption('named');
  await guest
    .getByText(
      'the owner and those named may start runs; all may pause and stop runs; the owner alone may remove others',
    )
    .first()
    .waitFor();
  await owner.page.getByRole('checkbox', { name: /^Name / }).check();
  await expect
    .poll(() =>
      guest.evaluate(
        () => (window as unknown as { tabmesh: { state: { may?: { propose: boolean } } } }).tabmesh.state.may?.propose,
      ),
    )
    .toBe(true);
  await owner.page.getByRole('button', { name: /^Remove / }).click();
  await guest
    .getByText(/removed this tab from the room, and it is not let in again/)
    .first()
    .waitFor();
  await expect.poll(() => members(owner)).toBe(1);
  await guest.reload();
  await guest
    .getByText(/removed this tab from the room, and it is not let in again/)
    .first()
    .waitFor();
  expect(await members(owner)).toBe(1);
});

it('the first tab of the command line opens its room and owns it; no link of others makes an owner', async () => {
  const config = parseRunConfig(
    Object.entries({ model: 'gpt2-nano', data: 'copy', context: 16, layout: 'dp=2', batch: 4, steps: 2000 }),
  );
  const tabs = await RealTabs.open(config, {}, 'tabs', () => ({ backend: 'cpu' }));
  try {
    const [first, second] = tabs.pages;
    const may = (page: Page): Promise<unknown> =>
      page.evaluate(() => (window as unknown as { tabmesh: { state: { may?: unknown } } }).tabmesh.state.may);
    await expect.poll(() => may(first!)).toEqual({ propose: true, act: true, remove: true });
    await expect.poll(() => may(second!)).toEqual({ propose: true, act: true, remove: false });
    expect(new URLSearchParams(new URL(second!.url()).hash.slice(1)).get('owner')).toMatch(/^[0-9a-f]{32}$/);
    // Its rules hold: a member may not stop the run any more.
    await first!.getByLabel('Who may pause and stop runs').selectOption('owner');
    await expect.poll(() => may(second!)).toEqual({ propose: true, act: false, remove: false });
    const stranger = await (await tabs.browser.newContext()).newPage();
    await stranger.goto(`${tabs.server.url}#room=a&key=${'A'.repeat(22)}&owner=self`);
    await stranger.getByRole('alert').getByText('link: owner is "self", which only a program says').waitFor();
  } finally {
    await tabs.close();
  }
});
