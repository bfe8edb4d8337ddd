// Files on their way between real tabs: both ends show a card with name, size, rate and each other's name, and either
// can end it; a download from the server and a saved file have one too.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PageDriver, tinyJob } from './page-driver.ts';
import type { Tab } from './page-driver.ts';

const KEY = 'A'.repeat(22);
const WHALE = 'it is not down in any map; true places never are. ';

let driver: PageDriver;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-transfers-'));
  driver = await PageDriver.start();
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await driver.close();
});

const card = (tab: Tab) => tab.page.getByRole('region', { name: 'Files on their way' });
const shows = (tab: Tab, text: RegExp) => expect.poll(() => card(tab).innerText()).toMatch(text);
/**
 * Resolves once the card has said all of these, however briefly: what passes faster than a test looks was said too.
 * With `press`, that button is clicked in the page at that moment.
 */
const said = (tab: Tab, texts: readonly RegExp[], press?: string) =>
  tab.page.evaluate(
    ([patterns, name]) =>
      new Promise<void>((resolve) => {
        const root = document.querySelector('tabmesh-app')!.shadowRoot!;
        const missing = new Set(patterns);
        const look = (): void => {
          const shown = root.querySelector<HTMLElement>('[aria-label="Files on their way"]');
          for (const pattern of missing) if (new RegExp(pattern).test(shown?.innerText ?? '')) missing.delete(pattern);
          if (missing.size > 0) return;
          watch.disconnect();
          if (name !== undefined) shown!.querySelector<HTMLElement>(`[aria-label="${name}"]`)!.click();
          resolve();
        };
        const watch = new MutationObserver(look);
        watch.observe(root, { subtree: true, childList: true, characterData: true });
        look();
      }),
    [texts.map(({ source }) => source), press] as const,
  );
const button = (tab: Tab, name: string | RegExp) => tab.page.getByRole('button', { name, exact: true });

it('a text of 48 MB is shown at both ends while it travels, and the tab that gets it cancels', async () => {
  const room = (more = ''): string => `#room=big&key=${KEY}&broker=none&backend=cpu&lane=webrtc${more}`;
  const profile = await driver.profile();
  const getter = await profile.open(room('&auto=1'));
  await getter.until('roster', ({ event }) => event?.type === 'roster');
  const job = tinyJob({ data: 'moby-dick', tokenizer: 'bytes', layout: 'dp=2', steps: 3 });
  const giver = await profile.open(`${room()}&plan=${job}`);
  await button(giver, 'Join this room').click();
  // From a file: the driver takes long to hand over so many bytes.
  const file = join(folder, 'map.txt');
  writeFileSync(file, WHALE.repeat(960_000));
  await giver.page.locator('input[type=file]').setInputFiles(file);
  await giver.page.getByText('gpt2-nano, map.txt, dp=2').waitFor();
  await button(giver, 'Train with 2 tabs').click();
  await getter.page.getByText(/run needs 48 MB that other tabs have: map.txt/).waitFor();
  const sent = said(giver, [/sending map\.txt to .+ \(rank \d\)/]);
  const received = said(
    getter,
    [/receiving map\.txt from .+ \(rank \d\)/, /MB of 48 MB, .+B\/s, \d+ s left/],
    'Cancel map.txt',
  );
  await button(getter, 'Download').click();
  await Promise.all([sent, received]);
  for (const tab of [getter, giver]) {
    await expect.poll(async () => (await tab.state()).phase).toBe('idle');
    await shows(tab, /broken off: map\.txt /);
    expect((await tab.state()).problems).toEqual([]);
    await button(tab, 'Close map.txt').click();
    await card(tab).waitFor({ state: 'detached' });
  }
});

it('a file of the server is shown and can be given up, and a saved checkpoint says where it went', async () => {
  const profile = await driver.profile();
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await profile.context.route('**/data/moby-dick.txt', async (route) => {
    await held;
    await route.continue();
  });
  const tab = await profile.open(`#backend=cpu&plan=${tinyJob({ data: 'moby-dick', steps: 5000 })}`);
  await button(tab, 'Train now').click();
  await shows(tab, /receiving moby-dick\.txt from this page’s server size not known yet/);
  await button(tab, 'Cancel moby-dick.txt').click();
  await expect.poll(async () => (await tab.state()).phase).toBe('idle');
  release();
  await button(tab, 'Train now').click();
  await tab.step(1);
  // Once it trains, what has come is no news.
  await card(tab).waitFor({ state: 'detached' });
  const download = tab.page.waitForEvent('download');
  await button(tab, 'Save').click();
  const name = (await download).suggestedFilename();
  await shows(tab, new RegExp(`saved ${name} to the downloads of this browser [\\d.]+ [kM]B`));
  await button(tab, `Close ${name}`).click();
  await card(tab).waitFor({ state: 'detached' });
  await button(tab, 'Stop').click();
});
