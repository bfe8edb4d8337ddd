// The examples in real tabs, served by their own server from the packed package: without a server tabs find each other,
// agree on the sum, send the bytes of the formula, and name a tab that is closed; over WebRTC pages that the server
// introduced do.

import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchChromium } from '../../src/cli/chromium.ts';
import { allReduceBytes } from '../../src/collectives/all-reduce.ts';
import { ROOT, temporaryFolder } from '../support/packed.ts';
import { scaledLimit } from '../support/patience.ts';

const folder = temporaryFolder('example');
let server: ChildProcess;
let url: string;
let browser: Browser;
beforeAll(async () => {
  cpSync(join(ROOT, 'examples', 'collectives'), folder, { recursive: true });
  execFileSync(process.execPath, [
    join(ROOT, 'bin', 'build-collectives.mjs'),
    join(folder, 'node_modules', '@tabmesh', 'collectives', 'dist'),
  ]);
  server = spawn(process.execPath, ['server.mjs'], {
    cwd: folder,
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  url = await new Promise<string>((resolve, reject) => {
    server.once('exit', (code) => reject(new Error(`the server of the example ended with ${code}`)));
    server.stdout!.setEncoding('utf8').once('data', (line: string) => resolve(line.trim().replace('webrtc.html', '')));
  });
  browser = await launchChromium(() => {});
});
afterAll(async () => {
  await browser?.close();
  server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

async function open(size: number, query: string): Promise<{ pages: Page[]; rank: number[] }> {
  const context = await browser.newContext();
  const pages = await Promise.all(Array.from({ length: size }, () => context.newPage()));
  await Promise.all(pages.map((page) => page.goto(`${url}?tabs=${size}&${query}`)));
  const texts = await Promise.all(
    pages.map(async (page) => {
      await page.waitForSelector('#log[data-sum]');
      return (await page.textContent('#log'))!;
    }),
  );
  const rank = texts.map((text) => Number(/^rank (\d+)/.exec(text)![1]));
  expect([...rank].sort()).toEqual(Array.from({ length: size }, (_, i) => i));
  for (const [i, text] of texts.entries()) {
    const bytes = allReduceBytes(rank[i], size, 1_000_000, { wire: query.includes('int8') ? 'int8' : 'f32' });
    expect(text).toBe(
      `rank ${rank[i]} of ${size}: the sum is ${await pages[i].getAttribute('#log', 'data-sum')}, sent ${bytes} bytes`,
    );
  }
  return { pages, rank };
}

test('two tabs, then three that lose one', async () => {
  const two = await open(2, 'room=a');
  for (const page of two.pages) expect(await page.getAttribute('#log', 'data-sum')).toBe('3');
  const { pages, rank } = await open(3, 'room=b');
  for (const page of pages) expect(await page.getAttribute('#log', 'data-sum')).toBe('6');
  const limitMs = scaledLimit(4000);
  const closedAt = performance.now();
  await pages[1].close();
  for (const page of [pages[0], pages[2]]) {
    await page.waitForSelector('#log[data-culprit]');
    expect(await page.getAttribute('#log', 'data-culprit')).toBe(String(rank[1]));
    expect(await page.textContent('#log')).toMatch(new RegExp(`rank ${rank[1]} (closed|left)`));
  }
  // The lock of the closed tab tells at once; silence alone would take six seconds.
  const tookMs = performance.now() - closedAt;
  expect(tookMs).toBeLessThan(scaledLimit(4000, limitMs));
});

test('four tabs in int8: all have the same sum, near the true one', async () => {
  const { pages } = await open(4, 'room=c&wire=int8');
  const sums = await Promise.all(pages.map(async (page) => Number(await page.getAttribute('#log', 'data-sum'))));
  for (const sum of sums) {
    expect(sum).toBe(sums[0]);
    expect(Math.abs(sum - 10)).toBeLessThan(0.1);
  }
});

test('over WebRTC: three pages that the server introduced, and one that goes', async () => {
  const pages = await Promise.all(Array.from({ length: 3 }, async () => (await browser.newContext()).newPage()));
  await Promise.all(pages.map((page) => page.goto(`${url}webrtc.html?size=3&room=d`)));
  const ranks = await Promise.all(
    pages.map(async (page) => {
      await page.waitForSelector('#log[data-sum="6"]');
      // The browser knows the route a moment after the link is open; a later round shows it.
      await page.waitForFunction(() => document.querySelector('#log')!.textContent!.includes('routes: direct, direct'));
      const [, rank, routes] = /^rank (\d) of 3: the sum is 6 in round \d+, routes: (.*)$/.exec(
        (await page.textContent('#log'))!,
      )!;
      expect(routes).toBe('direct, direct');
      return Number(rank);
    }),
  );
  expect([...ranks].sort()).toEqual([0, 1, 2]);
  await pages[2].goto('about:blank');
  for (const page of [pages[0], pages[1]]) {
    await page.waitForSelector(`#log[data-culprit="${ranks[2]}"]`);
    expect(await page.textContent('#log')).toMatch(new RegExp(`rank ${ranks[2]} (left|closed)`));
  }
});
