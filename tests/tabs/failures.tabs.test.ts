// The collectives library in real tabs over WebRTC when one of them, or the network, breaks: every survivor fails with
// the culprit's name, in time; and when the network is merely bad, every result and every byte is right. Times are from
// the fault to the moment each survivor's worker knew. TABMESH_FAILURE_REPEATS=10 measures: more repeats, and a table
// of p50, p99 and max.

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchChromium } from '../../src/cli/chromium.ts';
import { CollectiveTabs } from '../support/collective-tabs.ts';
import { PATIENCE_MS, scaledLimit } from '../support/patience.ts';
import { sample } from '../support/sample.ts';
import { openTestPages } from '../support/test-pages.ts';
import type { TestPages } from '../support/test-pages.ts';

const REPEATS = Number(process.env['TABMESH_FAILURE_REPEATS'] ?? 1);
const SIZE = 3;
const VICTIM = 1;
const CLOSED_MS = 1000;
const SILENT_MS = 8000;

let server: TestPages;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = [await openTestPages(), await launchChromium(() => {})];
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

interface Way {
  readonly name: string;
  readonly relay?: boolean;
  readonly leave?: boolean;
  readonly freeze?: boolean;
  /** Ranks that must fail; all but the victim by default. */
  readonly ranks?: readonly number[];
  /** Who may be named; the victim by default. */
  readonly culprits?: readonly number[];
  readonly evidence: readonly string[];
  readonly limitMs: number;
  readonly fault: (tabs: CollectiveTabs) => Promise<unknown>;
}

let stopped: number | undefined;

const WAYS: readonly Way[] = [
  {
    name: 'its page is closed and says good-bye',
    leave: true,
    evidence: ['left', 'closed'],
    limitMs: CLOSED_MS,
    fault: async ({ pages }) => {
      void pages[VICTIM]!.close();
    },
  },
  {
    name: 'its renderer crashes',
    evidence: ['silent'],
    limitMs: SILENT_MS,
    fault: async ({ pages }) => {
      const session = await pages[VICTIM]!.context().newCDPSession(pages[VICTIM]!);
      // The answer never comes: the process that would send it is gone.
      void session.send('Page.crash').catch(() => undefined);
    },
  },
  // SCTP sends no more than a few packets without answers, so a link that is cut one way falls silent both ways, and
  // each end names the other.
  {
    name: 'one of its links is cut one way',
    relay: true,
    ranks: [0, 1, 2],
    culprits: [VICTIM, 2],
    evidence: ['silent'],
    limitMs: SILENT_MS,
    fault: async ({ relay }) => {
      relay!.rule({ cut: true }, (from, to) => from === VICTIM && to === 2);
    },
  },
  {
    name: 'its page goes elsewhere',
    evidence: ['closed'],
    limitMs: CLOSED_MS,
    fault: async ({ pages }) => {
      void pages[VICTIM]!.goto('about:blank').catch(() => undefined);
    },
  },
  // Chromium ends the process of a page without listeners for unload at once, and nobody says a word on its channels.
  {
    name: 'its page is closed without a word',
    evidence: ['silent'],
    limitMs: SILENT_MS,
    fault: async ({ pages }) => {
      void pages[VICTIM]!.close();
    },
  },
  {
    name: 'its renderer is frozen',
    freeze: true,
    evidence: ['silent'],
    limitMs: SILENT_MS,
    fault: async () => {
      process.kill(stopped!, 'SIGSTOP');
    },
  },
  {
    name: 'nothing that it sends arrives',
    relay: true,
    evidence: ['silent'],
    limitMs: SILENT_MS,
    fault: async ({ relay }) => {
      relay!.rule({ cut: true }, (from) => from === VICTIM);
    },
  },
  {
    name: 'it is cut off both ways',
    relay: true,
    evidence: ['silent'],
    limitMs: SILENT_MS,
    fault: async ({ relay }) => {
      relay!.rule({ cut: true }, (from, to) => from === VICTIM || to === VICTIM);
    },
  },
];

test.each(sample(WAYS, 2))(
  'a rank fails: $name',
  async ({
    name,
    relay = false,
    leave = false,
    freeze = false,
    ranks,
    culprits = [VICTIM],
    evidence,
    limitMs,
    fault,
  }) => {
    const survivors = ranks ?? [0, 1, 2].filter((rank) => rank !== VICTIM);
    const times: number[] = [];
    let allowedMs = scaledLimit(limitMs);
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      const tabs = await CollectiveTabs.open({
        server,
        browser,
        size: SIZE,
        leave,
        ...(relay ? { relaySeed: repeat + 1 } : {}),
      });
      try {
        stopped = freeze ? await tabs.rendererPid(VICTIM) : undefined;
        await tabs.run({ rounds: 'forever', count: 20_000 });
        await tabs.all('ten rounds', PATIENCE_MS, (own) =>
          own.some((report) => report.kind === 'step' && report.done > 10) ? true : undefined,
        );
        const atMs = Date.now();
        await fault(tabs);
        for (const failed of await tabs.failures(survivors, PATIENCE_MS)) {
          expect(failed, `${failed.message}\n${failed.timeline}`).toMatchObject({ name: 'PeerError', wrong: 0 });
          expect(culprits, failed.message).toContain(failed.culprit);
          expect(evidence, failed.message).toContain(failed.evidence);
          times.push(failed.atMs - atMs);
        }
        allowedMs = scaledLimit(limitMs, allowedMs);
      } finally {
        if (stopped !== undefined) process.kill(stopped, 'SIGCONT');
        stopped = undefined;
        await tabs.close();
      }
    }
    times.sort((a, b) => a - b);
    const at = (share: number): number => times[Math.min(times.length - 1, Math.ceil(share * times.length) - 1)]!;
    console.log(`${name}: p50 ${at(0.5)}, p99 ${at(0.99)}, max ${times.at(-1)} ms over ${times.length} survivors`);
    expect(times.at(-1)).toBeLessThanOrEqual(allowedMs);
  },
);

test('a bad network slows all and spoils nothing: 2 % loss, 20 ms, overtaking, doubling, 4 MB/s', async () => {
  const tabs = await CollectiveTabs.open({ server, browser, size: SIZE, relaySeed: 42 });
  try {
    const rules = { drop: 0.02, delayMs: 20, jitterMs: 5, reorder: 0.02, duplicate: 0.01, bytesPerSecond: 4e6 };
    tabs.relay!.rule(rules);
    await tabs.run({ rounds: 4, count: 40_000 });
    for (const [rank, done] of (
      await tabs.all('the end', PATIENCE_MS, (own) =>
        own.find((report) => report.kind === 'done' || report.kind === 'failed'),
      )
    ).entries()) {
      expect(done, JSON.stringify(done)).toMatchObject({ kind: 'done', wrong: 0 });
      if (done.kind !== 'done') continue;
      expect(done.sent, `rank ${rank}`).toBe(done.formula);
      console.log(`rank ${rank}: ${Math.round(done.ms)} ms, ${done.sent} bytes`);
    }
    // The network was indeed bad, on every path.
    for (let from = 0; from < SIZE; from++) {
      for (let to = 0; to < SIZE; to++) {
        if (from === to) continue;
        const { counts } = tabs.relay!.path(from, to);
        expect(counts.dropped / counts.sent).toBeGreaterThan(0.005);
        expect(counts.late).toBeGreaterThan(0);
        expect(counts.doubled).toBeGreaterThan(0);
      }
    }
  } finally {
    await tabs.close();
  }
});
