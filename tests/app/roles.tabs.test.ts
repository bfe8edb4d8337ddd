// Roles with real tabs: the owner of a room restricts it by the share panel and removes a member.

import { afterAll, beforeAll, expect, it } from 'vitest';
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
