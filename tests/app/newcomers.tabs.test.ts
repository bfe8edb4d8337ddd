// Two people who have never seen the page: one opens it, shares its room, and both train with what the form suggests.

import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PageDriver } from './page-driver.ts';

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

const button = (page: Page, name: string | RegExp) => page.getByRole('button', { name, exact: true });
const stepOf = (page: Page): Promise<number> =>
  page.evaluate(
    () => (window as unknown as { tabmesh: { state: { run?: { step: number } } } }).tabmesh.state.run?.step ?? 0,
  );
/** What the form says that it will train. */
const about = (page: Page): Promise<string> => page.locator('run-form .about').innerText();

it('a room of two trains with one press on what the form suggests, and a chosen layout says how many tabs it lacks', async () => {
  const { open, context } = await driver.profile();
  const { page } = await open('');
  await button(page, 'Train now').waitFor();
  expect(await about(page)).toContain('dp=2,pp=2');
  const opened = context.waitForEvent('page');
  await button(page, 'Add a tab').click();
  const second = await opened;
  for (const tab of [page, second]) {
    await button(tab, 'Train with 2 tabs').waitFor();
    expect(await about(tab)).toContain('gpt2-nano, moby-dick, pp=2,');
    await tab.getByText('pp=2 is suggested for the 2 tabs that are here').waitFor();
  }

  // Who chooses a layout keeps it; what it lacks is said, with what can be trained at once.
  await button(second, 'Sequence ring').click();
  await button(second, 'Train with 4 tabs (2 more needed)').waitFor();
  await second.getByText('2 more tabs are needed: sp=4 takes 4, and 2 tabs are here.').waitFor();
  await button(second, /^Train with the 2 that are here \(/).click();
  for (const tab of [page, second]) await expect.poll(() => stepOf(tab)).toBeGreaterThan(1);
  await button(page, 'Stop').click();
  for (const tab of [page, second]) await button(tab, 'Train with 2 tabs').waitFor();
  expect(await about(page)).toContain('gpt2-nano, moby-dick, pp=2,');
  expect(await about(second)).toContain('llama-nano, moby-dick, pp=2,');

  await button(page, 'Train with 2 tabs').click();
  for (const tab of [page, second]) await expect.poll(() => stepOf(tab)).toBeGreaterThan(1);
  await button(second, 'Stop').click();
  for (const tab of [page, second]) await button(tab, 'Train with 2 tabs').waitFor();

  // Outside of the room the form is as before.
  await button(page, 'Leave the room').click();
  await button(page, 'Train now').waitFor();
  expect(await about(page)).toContain('dp=2,pp=2');
});
