// `tabmesh bench first-loss`: how long people wait. A browser with an empty profile opens the page and presses Train;
// the browser is ended, and opened again with the profile that it left, as often as asked for. Time runs from the click
// to the first loss of rank 0, as the page reports it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { AbortedError, TabmeshError } from '../../base/errors.ts';
import type { CommandIo } from '../command.ts';
import { ensureChromium, launchOptions } from '../machine/browser.ts';
import { startPageServer } from '../../server/page-server.ts';

/** What was reported until the first loss, with ms since the click. */
export interface Visit {
  readonly firstLossMs: number;
  readonly loss: number;
  readonly adapter: string;
  readonly told: readonly { readonly atMs: number; readonly text: string }[];
}

export async function firstLoss(visits: number, io: Pick<CommandIo, 'err' | 'signal'>): Promise<readonly Visit[]> {
  const executable = ensureChromium(io.err);
  const server = await startPageServer({ host: '127.0.0.1', onStatus: io.err });
  const profile = mkdtempSync(join(tmpdir(), 'tabmesh-profile-'));
  try {
    const found: Visit[] = [];
    for (let visit = 0; visit < visits; visit++)
      found.push(await visitOnce(server.url, profile, executable, io.signal));
    return found;
  } finally {
    await server.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

interface Told {
  readonly type: string;
  readonly rank?: number;
  readonly text?: string;
  readonly state?: string;
  readonly event?: {
    readonly kind: string;
    readonly text?: string;
    readonly message?: string;
    readonly metrics?: { readonly loss: number };
  };
}

async function visitOnce(url: string, profile: string, executable: string, signal: AbortSignal): Promise<Visit> {
  if (signal.aborted) throw new AbortedError();
  const browser = await chromium.launchPersistentContext(profile, launchOptions(executable));
  const stop = (): void => void browser.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    const page = await browser.newPage();
    // The page's own clock, so that the way to this process costs nothing.
    await page.addInitScript(() => {
      const known = globalThis as unknown as {
        tabmeshReport: (text: string) => void;
        told: [number, string][];
        clickedMs: number;
      };
      known.told = [];
      known.tabmeshReport = (text) => void known.told.push([performance.now(), text]);
      addEventListener(
        'click',
        () => {
          known.clickedMs ??= performance.now();
        },
        true,
      );
    });
    await page.goto(url);
    await page.getByRole('button', { name: 'Train now' }).click();
    await page.waitForFunction(
      () =>
        (globalThis as unknown as { told: [number, string][] }).told.some(([, text]) =>
          /"kind":"(step|failed)"|"state":"error"/.test(text),
        ),
      undefined,
      { timeout: 0 },
    );
    const { told, clickedMs } = await page.evaluate(() => {
      const known = globalThis as unknown as { told: [number, string][]; clickedMs: number };
      return { told: known.told, clickedMs: known.clickedMs };
    });
    const reports = told.map(([atMs, text]) => ({ atMs: atMs - clickedMs, report: JSON.parse(text) as Told }));
    const problem = reports.find(({ report }) => report.event?.kind === 'failed' || report.state === 'error');
    if (problem)
      throw new TabmeshError(
        `the page trained nothing: ${problem.report.event?.message ?? problem.report.text ?? 'no reason given'}`,
      );
    const first = reports.find(({ report }) => report.event?.kind === 'step')!;
    const adapter = await page.locator('mesh-map .adapter').first().innerText();
    return {
      firstLossMs: first.atMs,
      loss: first.report.event!.metrics!.loss,
      adapter: adapter.replace(/\s+/g, ' ').trim(),
      told: reports.flatMap(({ atMs, report: { rank, event } }) =>
        rank === 0 && event?.kind === 'status' ? [{ atMs, text: event.text! }] : [],
      ),
    };
  } catch (error) {
    throw signal.aborted ? new AbortedError() : error;
  } finally {
    signal.removeEventListener('abort', stop);
    await browser.close();
  }
}
