// The checkpoint that the page keeps in the browser: when the browser's quota runs out, the one before stays whole, it
// is told for as long as it is so, and the training goes on.

import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Page } from 'playwright-core';
import { readSafetensors } from '../../src/base/safetensors.ts';
import { PageDriver, tinyJob } from './page-driver.ts';

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

/** The step of the stored checkpoint; reading it fails where the file is not whole. */
async function stored(page: Page): Promise<number> {
  const text = await page.evaluate(async () => {
    const file = await (await (await navigator.storage.getDirectory()).getFileHandle('latest.safetensors')).getFile();
    return Array.from(new Uint8Array(await file.arrayBuffer()), (byte) => String.fromCharCode(byte)).join('');
  });
  return Number(readSafetensors(Uint8Array.from(text, (c) => c.charCodeAt(0))).metadata.get('step'));
}

it('is kept when the quota runs out, and told until one fits again', async () => {
  const { open, context } = await driver.profile();
  const tab = await open(
    `#auto=1&backend=cpu&plan=${tinyJob({ steps: 100_000, layout: 'dp=1', microbatches: 1, checkpointEvery: 3 })}`,
  );
  await expect.poll(() => stored(tab.page).catch(() => 0)).toBeGreaterThan(0);
  const cdp = await context.newCDPSession(tab.page);
  const origin = new URL(driver.address).origin;
  await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1_300_000 });
  const told = async (): Promise<string[]> => (await tab.state()).problems;
  await expect
    .poll(told)
    .toEqual([
      expect.stringMatching(/^the checkpoint of step \d+ is not kept in this browser \(.*; what it kept before stays/),
    ]);
  const kept = await stored(tab.page);
  expect(kept).toBeGreaterThan(0);
  // Told once, not once per checkpoint, and the training goes on.
  const later = (await tab.state()).run!.step + 8;
  await expect.poll(async () => (await tab.state()).run!.step).toBeGreaterThan(later);
  expect(await told()).toHaveLength(1);
  expect(await stored(tab.page)).toBe(kept);
  expect((await tab.state()).phase).toBe('training');
  await cdp.send('Storage.overrideQuotaForOrigin', { origin });
  await expect.poll(told).toEqual([]);
  expect(await stored(tab.page)).toBeGreaterThan(kept);
});
