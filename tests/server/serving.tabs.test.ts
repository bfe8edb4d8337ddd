// The built pages in real Chromium under the headers of the server: isolated from other sites, and nothing that they do
// is against their own policy, workers and compared libraries included. And a server that goes away and comes back:
// runs go on, the room is found again.

import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { launchChromium } from '../../src/cli/chromium.ts';
import { startPageServer } from '../../src/server/page-server.ts';
import type { PageServer } from '../../src/server/page-server.ts';
import { Tab, tinyJob } from '../app/page-driver.ts';
import type { Report } from '../app/page-driver.ts';
import { ROOM_KEY } from '../cluster/support.ts';

let browser: Browser;
let server: PageServer | undefined;
beforeAll(async () => {
  browser = await launchChromium(console.log);
});
afterAll(() => browser.close());
const contexts: BrowserContext[] = [];
afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
  await server?.close();
  server = undefined;
});

/** A page whose complaints about its policy are collected, those of its workers too. */
async function open(address: string, complaints: string[] = []): Promise<Tab> {
  const context = await browser.newContext();
  contexts.push(context);
  const page = await context.newPage();
  const tab = new Tab(page);
  await page.exposeFunction('tabmeshReport', (text: string) => tab.take(JSON.parse(text) as Report));
  watchPolicy(context, complaints);
  await page.goto(address);
  return tab;
}

function watchPolicy(context: BrowserContext, complaints: string[]): void {
  context.on('console', (message) => {
    if (/Content Security Policy|Refused to|violates|Cross-Origin-Embedder-Policy|blocked by/i.test(message.text()))
      complaints.push(message.text());
  });
  context.on('weberror', (error) => {
    complaints.push(error.error().message);
  });
}

const isolated = (page: Page): Promise<boolean> => page.evaluate(() => crossOriginIsolated);

it('a page is isolated and trains in a room over the broker without a complaint', async () => {
  server = await startPageServer();
  const complaints: string[] = [];
  const link = (more: string): string => `${server!.url}#room=policy&key=${ROOM_KEY}&backend=cpu&auto=1${more}`;
  const first = await open(
    link(`&world=2&plan=${tinyJob({ layout: 'dp=2', steps: 6, sampleEvery: 3, evalEvery: 3, data: 'moby-dick' })}`),
    complaints,
  );
  const second = await open(link(''), complaints);
  expect([await isolated(first.page), await isolated(second.page)]).toEqual([true, true]);
  await Promise.all([first, second].map((tab) => tab.until('the end', ({ event }) => event?.kind === 'done')));
  expect(complaints).toEqual([]);
  // The check itself: a page that does what it must not is heard.
  await first.page.evaluate(() => {
    document.body.setAttribute('style', 'color: red');
    const script = document.createElement('script');
    script.textContent = 'globalThis.bad = 1';
    document.body.append(script);
  });
  await expect.poll(() => complaints.length).toBeGreaterThanOrEqual(2);
  expect(await first.page.evaluate(() => 'bad' in globalThis)).toBe(false);
});

it('the bench beside its libraries, and the collectives in frames beside theirs: no complaint', async () => {
  server = await startPageServer();
  const complaints: string[] = [];
  const { page } = await open(`${server.url}bench.html#only=adamw&rounds=1&tune=0&peers=1&run=1`, complaints);
  expect(await isolated(page)).toBe(true);
  const state = () =>
    page.evaluate(() => {
      const { state: now, report } = (
        window as unknown as {
          tabmeshBench: {
            state: { phase: string; status: string };
            report?: { results: { library: string }[]; missing: { library: string; reason: string }[] };
          };
        }
      ).tabmeshBench;
      return {
        phase: now.phase,
        status: now.status,
        libraries: [...new Set(report?.results.map(({ library }) => library))].sort(),
      };
    });
  await expect
    .poll(state, { interval: 500 })
    .toMatchObject({
      phase: 'ready',
      status: expect.stringMatching(/^done/),
      libraries: ['jax-js', 'onnxruntime-web', 'tabmesh', 'tfjs'],
    });
  const collectives = await open(
    `${server.url}collectives.html#tabs=2&frames=1&sizes=4KiB&only=send&rounds=1&peers=1&run=1`,
    complaints,
  );
  expect(await isolated(collectives.page)).toBe(true);
  const rows = () =>
    collectives.page.evaluate(() => {
      const { state: now } = (
        window as unknown as {
          tabmeshCollectives: {
            state: { phase: string; status: string; problems: string[]; rows: { library: string }[] };
          };
        }
      ).tabmeshCollectives;
      return {
        status: now.status,
        problems: now.problems,
        libraries: new Set(now.rows.map(({ library }) => library)).size,
      };
    });
  await expect.poll(rows, { interval: 500 }).toMatchObject({ status: 'done', problems: [], libraries: 4 });
  expect(complaints).toEqual([]);
});

it('the server goes away in mid-run and comes back: the run goes on, nobody reloads, and a newcomer finds the room', async () => {
  server = await startPageServer();
  const port = Number(new URL(server.url).port);
  const link = (more: string): string => `${server!.url}#room=restart&key=${ROOM_KEY}&backend=cpu&auto=1${more}`;
  const tabs = [await open(link(`&world=2&plan=${tinyJob({ layout: 'dp=2', steps: 100_000 })}`)), await open(link(''))];
  await Promise.all(tabs.map((tab) => tab.step(3)));
  await server.close();
  const members = (tab: Tab): Promise<{ members: unknown[]; status: string; problems: string[] }> =>
    tab.page.evaluate(() => JSON.parse(JSON.stringify(window.tabmesh!.state)));
  await expect
    .poll(async () => (await members(tabs[0]!)).status)
    .toMatch(/the broker is gone.*trying again, open connections go on/);
  const at = tabs[0]!.losses(0).length + tabs[0]!.losses(1).length;
  await tabs[0]!.step(at + 5);
  server = await startPageServer({ port });
  await expect
    .poll(async () =>
      (await Promise.all(tabs.map(members))).every(
        ({ status }) => /connected again|training/.test(status) && !/is gone/.test(status),
      ),
    )
    .toBe(true);
  const late = await open(link(''));
  await expect
    .poll(async () => Promise.all([...tabs, late].map(async (tab) => (await members(tab)).members.length)))
    .toEqual([3, 3, 3]);
  for (const tab of tabs) {
    expect(tab.reports.filter(({ type, state }) => type === 'page' && state === 'loaded')).toHaveLength(1);
    expect(tab.reports.filter(({ event }) => event?.kind === 'failed' || event?.type === 'failed')).toEqual([]);
    expect((await members(tab)).problems).toEqual([]);
  }
  await tabs[0]!.step(at + 15);
});
