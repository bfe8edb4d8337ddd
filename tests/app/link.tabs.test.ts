// A link in a browser that nobody drives: nothing happens before a click, and the page says what would. A tab that this
// person adds begins by itself.

import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureChromium, launchOptions } from '../../src/cli/machine/browser.ts';
import { startPageServer } from '../../src/server/page-server.ts';
import type { PageServer } from '../../src/server/page-server.ts';
import type { RunFiles } from '../../src/server/run-files.ts';
import { tinyJob } from './page-driver.ts';

let server: PageServer;
let run: RunFiles;
let browser: Browser;
beforeAll(async () => {
  server = await startPageServer({ host: '127.0.0.1' });
  run = server.openRun();
  browser = await chromium.launch(launchOptions(ensureChromium(console.log)));
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

interface State {
  readonly phase: string;
  readonly run?: { readonly step: number };
  readonly members?: readonly unknown[];
}
const state = (page: Page): Promise<State> =>
  page.evaluate(() => JSON.parse(JSON.stringify((window as unknown as { tabmesh: { state: unknown } }).tabmesh.state)));
const card = (page: Page) => page.getByRole('alertdialog', { name: 'What this link asks for' });

it('a link of anybody that begins and sends asks before it does', async () => {
  const page = await (await browser.newContext()).newPage();
  const workers: string[] = [];
  page.on('worker', (worker) => workers.push(worker.url()));
  await page.goto(
    `${server.url}#auto=1&backend=cpu&upload=${run.upload}&plan=${tinyJob({ layout: 'dp=1', steps: 3, checkpointEvery: 1 })}`,
  );
  await card(page)
    .getByText(/^train "gpt2-nano" on "copy" for 3 steps/)
    .waitFor();
  const sends = `send checkpoints, weights and gradients of what this tab trains to "${run.upload}"`;
  expect(await card(page).innerText()).toContain(sends);
  await page.getByRole('button', { name: 'Do not begin' }).click();
  await expect.poll(() => card(page).count()).toBe(0);
  // A run of the person's own sends nothing either.
  await page.getByRole('button', { name: 'Train now' }).click();
  await expect.poll(async () => (await state(page)).phase).toBe('done');
  expect(() => run.take('checkpoint-3')).toThrow('did not upload');
  const begun = workers.length;
  await page.reload();
  await card(page).waitFor();
  expect(await state(page)).toMatchObject({ phase: 'idle' });
  expect(workers).toHaveLength(begun);
  await page.getByRole('button', { name: 'Allow and begin' }).focus();
  await page.keyboard.press('Enter');
  await expect.poll(async () => (await state(page)).phase).toBe('done');
  expect(await card(page).count()).toBe(0);
  await expect
    .poll(() => {
      try {
        return run.take('checkpoint-3').length > 0;
      } catch {
        return false;
      }
    })
    .toBe(true);
  await page.context().close();
});

it('a tab that the person adds joins by itself; the same link in another browser asks', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${server.url}#backend=cpu`);
  const opened = context.waitForEvent('page');
  await page.getByRole('button', { name: 'Add a tab' }).click();
  const added = await opened;
  await expect.poll(async () => (await state(added)).members?.length).toBe(2);
  expect(await card(added).count()).toBe(0);
  const stranger = await (await browser.newContext()).newPage();
  await stranger.goto(added.url());
  await card(stranger)
    .getByText(/^join the room /)
    .waitFor();
  expect((await state(page)).members).toHaveLength(2);
  // On a phone nothing of it is cut.
  await stranger.setViewportSize({ width: 390, height: 800 });
  expect(await stranger.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  await stranger.context().close();
  await context.close();
});

it('a page of https says that its broker must be one of wss://', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  // The same files under an address of https.
  const host = 'https://pages.example/';
  await page.route(`${host}**`, async (route) => {
    const url = server.url + route.request().url().slice(host.length);
    await route.fulfill({ response: await context.request.get(url) });
  });
  await page.goto(`${host}#room=r1&key=${'A'.repeat(22)}&broker=ws://me:secret@b.example/mqtt&backend=cpu`);
  await page.getByRole('button', { name: 'Look first' }).click();
  const problem = page.getByText('this page came over https');
  await problem.waitFor();
  expect(await problem.innerText()).toContain('only brokers of wss://, not ws://b.example/mqtt');
  await context.close();
});
