// Connects and disconnects over real WebRTC: connections, channels, timers and the heap come back to where they were.
// Chromium counts its own objects. TABMESH_SOAK_ROUNDS=1000 for more than the 50 rounds of every run.

import type { Browser, CDPSession, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchChromium } from '../../src/cli/chromium.ts';
import { ALL } from '../support/sample.ts';
import { PATIENCE_MS } from '../support/patience.ts';
import { openTestPages } from '../support/test-pages.ts';
import type { TestPages } from '../support/test-pages.ts';

const ROUNDS = Number(process.env['TABMESH_SOAK_ROUNDS'] ?? (ALL ? 150 : 50));
/** Caches of the browser and of the page's code fill up. */
const WARM = 100;
const BATCH = 150;
const LIMIT = 1.01;
/** A leak is what is still there after so long. */
const LEAK_MS = 10_000;
const POLL_MS = 250;
/**
 * The collector takes what lies on the stack for pointers, so it may hold the last rounds for as long as nothing else
 * runs. What leaks grows with the rounds: so many objects of a class per round are fewer than one that is kept in each
 * third round, as the three ways to end a round would.
 */
const HELD_PER_ROUND = 0.3;
const COUNTED = ['RTCPeerConnection', 'RTCDataChannel', 'MessagePort', 'ArrayBuffer'] as const;

type Objects = Readonly<Record<(typeof COUNTED)[number], number>>;
interface Held {
  readonly heap: number;
  readonly timers: number;
  readonly objects: Objects;
}

let server: TestPages;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([openTestPages(), launchChromium(() => undefined)]);
});
afterAll(async () => {
  await browser.close();
  await server.close();
});

/** Objects of a class that are alive. */
async function alive(session: CDPSession, name: string): Promise<number> {
  const {
    result: { objectId: prototypeObjectId },
  } = await session.send('Runtime.evaluate', { expression: `${name}.prototype` });
  const {
    objects: { objectId },
  } = await session.send('Runtime.queryObjects', { prototypeObjectId: prototypeObjectId! });
  const { result } = await session.send('Runtime.callFunctionOn', {
    objectId: objectId!,
    functionDeclaration: 'function () { return this.length; }',
    returnByValue: true,
  });
  await session.send('Runtime.releaseObject', { objectId: objectId! });
  return result.value as number;
}

/**
 * What is held once nothing is left that should go, or else after `limitMs`: simple-peer's timer for slow candidates
 * holds a destroyed peer for 5 s, and on a busy machine the browser takes its time to close a connection.
 * @param expected objects before; by default only connections and channels must be gone.
 */
async function held(page: Page, session: CDPSession, limitMs: number, expected?: Objects): Promise<Held> {
  const since = performance.now();
  for (;;) {
    // Some objects need two collections.
    for (let i = 0; i < 2; i++) await session.send('HeapProfiler.collectGarbage');
    const objects = {} as Record<(typeof COUNTED)[number], number>;
    for (const name of COUNTED) objects[name] = await alive(session, name);
    const timers = await page.evaluate(() => window.openTimers());
    const { usedSize: heap } = await session.send('Runtime.getHeapUsage');
    const gone = COUNTED.every(
      (name) =>
        objects[name] <= (expected?.[name] ?? (name.startsWith('RTC') ? 0 : Infinity)) + HELD_PER_ROUND * ROUNDS,
    );
    if ((gone && timers === 0) || performance.now() - since > limitMs) return { heap, timers, objects };
    // No event tells that something has been collected.
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS);
    });
  }
}

/**
 * What is held after `warm` rounds, and after `rounds` more, and as many again up to `tries` times while the heap has
 * grown: what leaks grows every time.
 */
async function soak(
  warm: number,
  rounds: number,
  { leak = false, tries = 3 } = {},
): Promise<{ readonly before: Held; readonly after: Held }> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(`${server.url}tests/tabs/soak-page.html`);
    await page.waitForFunction(() => 'soak' in window);
    const session = await context.newCDPSession(page);
    const run = async (count: number, expected?: Objects): Promise<Held> => {
      const limitMs = leak ? LEAK_MS : PATIENCE_MS;
      // A page may have 500 connections that are not collected yet.
      for (let left = count; left > 0; left -= BATCH) {
        await page.evaluate(([n, keep]) => window.soak(n, keep), [Math.min(left, BATCH), leak] as const);
        if (left > BATCH) await held(page, session, limitMs);
      }
      return held(page, session, limitMs, expected);
    };
    let before = await run(warm);
    for (;;) {
      const after = await run(rounds, before.objects);
      if (--tries === 0 || after.heap < LIMIT * before.heap) return { before, after };
      before = after;
    }
  } finally {
    await context.close();
  }
}

it(`${ROUNDS} connects and disconnects leave nothing behind`, async () => {
  const { before, after } = await soak(WARM, ROUNDS);
  if (process.env['TABMESH_SOAK_ROUNDS']) console.log(JSON.stringify({ before, after }));
  for (const name of COUNTED)
    expect(after.objects[name] - before.objects[name], name).toBeLessThanOrEqual(HELD_PER_ROUND * ROUNDS);
  expect([before.timers, after.timers]).toEqual([0, 0]);
  expect(after.heap / before.heap).toBeLessThan(LIMIT);
});

it('a seeded leak of communicators and their channels is found', async () => {
  const { before, after } = await soak(5, 10, { leak: true, tries: 1 });
  expect(after.objects.RTCDataChannel - before.objects.RTCDataChannel).toBeGreaterThanOrEqual(60);
  expect(after.heap / before.heap).toBeGreaterThan(LIMIT);
});
