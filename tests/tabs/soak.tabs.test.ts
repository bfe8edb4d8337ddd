// Connects and disconnects over real WebRTC: connections, channels, timers and the heap come back to where they were. Chromium counts its own objects.
// TABMESH_SOAK_ROUNDS=1000 for more than the 150 rounds of every run.

import type { Browser, CDPSession } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchChromium } from '../../src/cli/chromium.ts';
import { openTestPages } from '../support/test-pages.ts';
import type { TestPages } from '../support/test-pages.ts';

const ROUNDS = Number(process.env['TABMESH_SOAK_ROUNDS'] ?? 150);
/** Caches of the browser and of the page's code fill up. */
const WARM = 100;
const BATCH = 150;
const LIMIT = 1.01;
const WAIT_MS = 10_000;
const COUNTED = ['RTCPeerConnection', 'RTCDataChannel', 'MessagePort', 'ArrayBuffer'] as const;

interface Held { readonly heap: number; readonly timers: number; readonly objects: Readonly<Record<(typeof COUNTED)[number], number>> }

let server: TestPages;
let browser: Browser;
beforeAll(async () => { [server, browser] = await Promise.all([openTestPages(), launchChromium(() => undefined)]); });
afterAll(async () => { await browser.close(); await server.close(); });

/** Objects of a class that are alive. */
async function alive(session: CDPSession, name: string): Promise<number> {
  const { result: { objectId: prototypeObjectId } } = await session.send('Runtime.evaluate', { expression: `${name}.prototype` });
  const { objects: { objectId } } = await session.send('Runtime.queryObjects', { prototypeObjectId: prototypeObjectId! });
  const { result } = await session.send('Runtime.callFunctionOn', { objectId: objectId!, functionDeclaration: 'function () { return this.length; }', returnByValue: true });
  await session.send('Runtime.releaseObject', { objectId: objectId! });
  return result.value as number;
}

/** Once no connection is left, or after `WAIT_MS`: simple-peer's timer for slow candidates holds a destroyed peer for 5 s. */
async function held(session: CDPSession, timers: number): Promise<Held> {
  for (const since = performance.now(); ;) {
    // Some objects need two collections.
    for (let i = 0; i < 2; i++) await session.send('HeapProfiler.collectGarbage');
    const objects = {} as Record<(typeof COUNTED)[number], number>;
    for (const name of COUNTED) objects[name] = await alive(session, name);
    const { usedSize: heap } = await session.send('Runtime.getHeapUsage');
    if (objects.RTCPeerConnection === 0 || performance.now() - since > WAIT_MS) return { heap, timers, objects };
    // No event tells that something has been collected.
    await new Promise((resolve) => { setTimeout(resolve, 250); });
  }
}

/** What is held after `warm` rounds, and after `rounds` more, and as many again up to `tries` times while the heap has grown: what leaks grows every time. */
async function soak(warm: number, rounds: number, { leak = false, tries = 3 } = {}): Promise<{ readonly before: Held; readonly after: Held }> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(`${server.url}tests/tabs/soak-page.html`);
    await page.waitForFunction(() => 'soak' in window);
    const session = await context.newCDPSession(page);
    const run = async (count: number): Promise<Held> => {
      // A page may have 500 connections that are not collected yet.
      for (let left = count; left > BATCH; left -= BATCH) await held(session, await page.evaluate(([n, keep]) => window.soak(n, keep), [BATCH, leak] as const));
      return held(session, await page.evaluate(([n, keep]) => window.soak(n, keep), [count % BATCH || BATCH, leak] as const));
    };
    let before = await run(warm);
    for (;;) {
      const after = await run(rounds);
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
  expect(after.objects).toEqual({ ...before.objects, RTCPeerConnection: 0, RTCDataChannel: 0 });
  expect([before.timers, after.timers]).toEqual([0, 0]);
  expect(after.heap / before.heap).toBeLessThan(LIMIT);
}, 600_000);

it('a seeded leak of communicators and their channels is found', async () => {
  const { before, after } = await soak(5, 10, { leak: true, tries: 1 });
  expect(after.objects.RTCDataChannel - before.objects.RTCDataChannel).toBeGreaterThanOrEqual(60);
  expect(after.heap / before.heap).toBeGreaterThan(LIMIT);
});
