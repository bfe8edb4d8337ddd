// A page that came over http from another machine: it has no WebGPU, no threads, no locks and no WebCrypto. It trains
// on virtual devices in WebAssembly, and says what it lacks where it would enter a room.

import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureChromium, launchOptions } from '../../src/cli/machine/browser.ts';
import { startPageServer } from '../../src/server/page-server.ts';
import type { PageServer } from '../../src/server/page-server.ts';
import { tinyJob } from './page-driver.ts';

const NAME = 'other.example';
let server: PageServer;
let browser: Browser;
beforeAll(async () => {
  server = await startPageServer({ host: '127.0.0.1', allowedHosts: [NAME] });
  const options = launchOptions(ensureChromium(console.log));
  browser = await chromium.launch({
    ...options,
    args: [...options.args, `--host-resolver-rules=MAP ${NAME} 127.0.0.1`],
  });
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const state = (page: Page): Promise<{ readonly phase: string; readonly problems: readonly string[] }> =>
  page.evaluate(() => JSON.parse(JSON.stringify((window as unknown as { tabmesh: { state: unknown } }).tabmesh.state)));

it('trains on virtual devices, and enters no room', async () => {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`http://${NAME}:${new URL(server.url).port}/#plan=${tinyJob({ layout: 'dp=2' })}`);
  expect(
    await page.evaluate(() => [isSecureContext, crossOriginIsolated, 'gpu' in navigator, 'locks' in navigator]),
  ).toEqual([false, false, false, false]);
  await page.getByRole('button', { name: 'Train now' }).click();
  await expect.poll(async () => (await state(page)).phase).toBe('done');
  expect((await state(page)).problems).toEqual([]);
  await expect.poll(() => page.getByText(/WebAssembly SIMD.*, 1 thread/).count()).toBeGreaterThan(0);

  await page.getByRole('button', { name: 'Add a tab' }).click();
  await expect
    .poll(async () => (await state(page)).problems)
    .toEqual([
      'page address: expected a secure page (https:// or localhost), got one without WebCrypto; open the page over https',
    ]);
});
