// Real tabs: over the broker inside Vite's dev server in browser contexts that share nothing, and over BroadcastChannel
// in one context.

import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { createServer } from 'vite';
import type { ViteDevServer } from 'vite';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ensureChromium, launchOptions } from '../../src/cli/machine/browser.ts';
import { devPlugin } from '../../src/server/pages/dev-plugin.ts';
import { OTHER_KEY, ROOM_KEY } from './support.ts';

let browser: Browser;
let server: ViteDevServer;
let rooms = 0;
const contexts: BrowserContext[] = [];

beforeAll(async () => {
  server = await createServer({
    root: fileURLToPath(new URL('../..', import.meta.url)),
    configFile: false,
    logLevel: 'error',
    plugins: [devPlugin()],
    server: { port: 0, host: '127.0.0.1' },
    optimizeDeps: { entries: ['tests/cluster/room-page.html'] },
  });
  await server.listen();
  browser = await chromium.launch(launchOptions(ensureChromium(console.log)));
});
afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

async function newContext(): Promise<BrowserContext> {
  const context = await browser.newContext();
  contexts.push(context);
  return context;
}

async function open(
  context: BrowserContext,
  carrier: 'mqtt' | 'tabs',
  room: string,
  n: number,
  worldSize = 0,
  key = ROOM_KEY,
): Promise<Page> {
  const page = await context.newPage();
  const { port } = server.httpServer!.address() as AddressInfo;
  await page.goto(
    `http://127.0.0.1:${port}/tests/cluster/room-page.html?carrier=${carrier}&n=${n}&worldSize=${worldSize}#room=${room}&key=${key}`,
  );
  await page.waitForFunction(() => 'member' in window);
  return page;
}

const exchange = (pages: readonly Page[]): Promise<string[][]> =>
  Promise.all(pages.map((page, i) => page.evaluate((text) => window.member.exchange(text), `from tab ${i}`)));

test.each(['mqtt', 'tabs'] as const)(
  'three tabs meet over %s, connect, exchange bytes; a closed tab and a crashed one are noticed',
  async (carrier) => {
    const room = `tabs-${rooms++}`;
    const shared = await newContext();
    const pages: Page[] = [];
    for (let n = 0; n < 3; n++) {
      pages.push(await open(carrier === 'mqtt' ? await newContext() : shared, carrier, room, n, n === 0 ? 3 : 0));
      expect(await pages[n]!.evaluate(() => window.member.joined())).toBe(n + 1);
    }
    expect(await Promise.all(pages.map((page) => page.evaluate(() => window.member.started())))).toEqual([0, 1, 2]);
    expect(await exchange(pages)).toEqual([
      ['from tab 1', 'from tab 2'],
      ['from tab 0', 'from tab 2'],
      ['from tab 0', 'from tab 1'],
    ]);
    await pages[2]!.close();
    await pages[0]!.evaluate(() => window.member.roster('Tab 0, Tab 1'));
    // Never resolves: the page is gone when it would.
    pages[1]!.goto('chrome://crash').catch(() => {});
    await pages[0]!.evaluate(() => window.member.roster('Tab 0'));
  },
);

test('a link with another key is told so, and disturbs nobody', async () => {
  const room = `tabs-${rooms++}`;
  const member = await open(await newContext(), 'mqtt', room, 0);
  await member.evaluate(() => window.member.joined());
  const stranger = await open(await newContext(), 'mqtt', room, 1, 0, OTHER_KEY);
  for (const page of [member, stranger])
    expect(await page.evaluate(() => window.member.notice())).toMatch(/^somebody in this room has a different key/);
});
