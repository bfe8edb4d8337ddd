// The example in real tabs of one browser: they find each other without a server, agree on the sum, send the bytes of the formula, and name a tab that is closed.

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchChromium } from '../../src/cli/chromium.ts';
import { allReduceBytes } from '../../src/collectives/all-reduce.ts';
import { openTestPages } from '../support/test-pages.ts';
import type { TestPages } from '../support/test-pages.ts';

let server: TestPages;
let browser: Browser;
beforeAll(async () => { [server, browser] = [await openTestPages(), await launchChromium(() => {})]; });
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

async function open(size: number, query: string): Promise<{ pages: Page[]; rank: number[] }> {
  const context = await browser.newContext();
  const pages = await Promise.all(Array.from({ length: size }, () => context.newPage()));
  await Promise.all(pages.map((page) => page.goto(`${server.url}examples/collectives/index.html?tabs=${size}&${query}`)));
  const texts = await Promise.all(pages.map(async (page) => {
    await page.waitForSelector('#log[data-sum]');
    return (await page.textContent('#log'))!;
  }));
  const rank = texts.map((text) => Number(/^rank (\d+)/.exec(text)![1]));
  expect([...rank].sort()).toEqual(Array.from({ length: size }, (_, i) => i));
  for (const [i, text] of texts.entries()) {
    const bytes = allReduceBytes(rank[i], size, 1_000_000, { wire: query.includes('int8') ? 'int8' : 'f32' });
    expect(text).toBe(`rank ${rank[i]} of ${size}: the sum is ${await pages[i].getAttribute('#log', 'data-sum')}, sent ${bytes} bytes`);
  }
  return { pages, rank };
}

test('two tabs, then three that lose one', async () => {
  const two = await open(2, 'room=a');
  for (const page of two.pages) expect(await page.getAttribute('#log', 'data-sum')).toBe('3');
  const { pages, rank } = await open(3, 'room=b');
  for (const page of pages) expect(await page.getAttribute('#log', 'data-sum')).toBe('6');
  const closedAt = performance.now();
  await pages[1].close();
  for (const page of [pages[0], pages[2]]) {
    await page.waitForSelector('#log[data-culprit]', { timeout: 8000 });
    expect(await page.getAttribute('#log', 'data-culprit')).toBe(String(rank[1]));
    expect(await page.textContent('#log')).toMatch(new RegExp(`rank ${rank[1]} (closed|left)`));
  }
  // The lock of the closed tab tells at once; silence alone would take six seconds.
  expect(performance.now() - closedAt).toBeLessThan(4000);
});

test('four tabs in int8: all have the same sum, near the true one', async () => {
  const { pages } = await open(4, 'room=c&wire=int8');
  const sums = await Promise.all(pages.map(async (page) => Number(await page.getAttribute('#log', 'data-sum'))));
  for (const sum of sums) {
    expect(sum).toBe(sums[0]);
    expect(Math.abs(sum - 10)).toBeLessThan(0.1);
  }
});
