// Workers of a real page check and tune the browser's adapter: one measures while the other waits, the card says what came out, and a second visit of the
// same profile finds everything in IndexedDB.

import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Certificate } from '../../src/device/tune/certificate.ts';
import { PageDriver, tinyPlan } from './page-driver.ts';
import type { Tab } from './page-driver.ts';

let driver: PageDriver;
beforeAll(async () => { driver = await PageDriver.start(); });
afterAll(() => driver.close());

async function certificates(tab: Tab): Promise<readonly Certificate[]> {
  await tab.page.getByRole('button', { name: 'Train now' }).click();
  await Promise.all([tab.done(0), tab.done(1)]);
  return [0, 1].map((rank) => tab.reports.find((report) => report.rank === rank && report.event?.kind === 'certificate')!.event!['certificate'] as Certificate);
}

it('two devices of one browser qualify in turn, and a second visit remembers', async () => {
  const profile = await driver.profile();
  const fragment = `#plan=${tinyPlan({ layout: 'dp=2', steps: 1, microbatches: 1, tune: 1 })}`;
  const first = await profile.open(fragment);
  const both = await certificates(first);
  for (const { checks, refused, notes } of both) {
    expect(checks.length).toBeGreaterThan(10);
    expect(refused).toEqual([]);
    expect(notes).toEqual([]);
  }
  // Both run the same launches, so what one has measured or checked the other takes from the store.
  expect(both.some(({ decisions }) => decisions.some(({ remembered }) => remembered))).toBe(true);
  expect(await first.page.locator('mesh-map li').first().innerText()).toMatch(/qualified \d+ kernel variants \(worst error 0\.\d+ of the tolerance\)/);
  await first.page.close();
  for (const { checks } of await certificates(await profile.open(fragment))) expect(checks.filter(({ how }) => how === 'remembered').length).toBeGreaterThan(10);
});
