// Real tabs for a test: a page server, a headless Chromium, and every report that the tabs make, with the time it came.

import { readFileSync } from 'node:fs';
import type { Browser, Page } from 'playwright-core';
import { openBoth, openTabs } from '../../src/cli/chromium.ts';
import type { TabReport } from '../../src/cli/chromium.ts';
import type { PageServer } from '../../src/server/page-server.ts';
import type { RunFiles as ServedRun } from '../../src/server/run-files.ts';
import type { RunFiles } from '../../src/train/prepare.ts';
import type { RunConfig } from '../../src/train/run-config.ts';

export interface TabEvent {
  readonly tab: number;
  readonly atMs: number;
  readonly report: TabReport;
}

export class RealTabs {
  readonly server: PageServer;
  readonly run: ServedRun;
  readonly browser: Browser;
  readonly pages: readonly Page[];
  readonly events: TabEvent[];
  readonly #waiting: Set<() => void>;

  private constructor(
    server: PageServer,
    run: ServedRun,
    browser: Browser,
    pages: readonly Page[],
    events: TabEvent[],
    waiting: Set<() => void>,
  ) {
    this.server = server;
    this.run = run;
    this.browser = browser;
    this.pages = pages;
    this.events = events;
    this.#waiting = waiting;
  }

  /** Without `parts` the tabs are joined over WebRTC, as a network joins them. */
  static async open(
    config: RunConfig,
    files: RunFiles = {},
    mode: 'tabs' | 'devices' = 'tabs',
    parts?: (tab: number) => Record<string, string>,
    onBrowser?: (browser: Browser) => void,
  ): Promise<RealTabs> {
    const { server, browser } = await openBoth(() => {});
    const run = server.openRun();
    onBrowser?.(browser);
    const events: TabEvent[] = [];
    const waiting = new Set<() => void>();
    const { pages } = await openTabs({
      server,
      run,
      browser,
      config,
      files,
      mode,
      // Also where there is no GPU: what the tabs do is shown on WebGPU.
      parts: (tab) => ({ backend: 'webgpu', ...(parts?.(tab) ?? { lane: 'webrtc' }) }),
      onReport: (tab, report) => {
        events.push({ tab, atMs: performance.now(), report });
        for (const check of [...waiting]) check();
      },
    });
    return new RealTabs(server, run, browser, pages, events, waiting);
  }

  /**
   * Resolves when `found` returns something for the events so far; rejects after `timeoutMs` with what the tabs said
   * last.
   */
  until<T>(what: string, timeoutMs: number, found: (events: readonly TabEvent[]) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        reject(
          new Error(`not within ${timeoutMs} ms: ${what}; the last reports of each tab are ${this.#lastReports()}`),
        );
      }, timeoutMs);
      const check = (): void => {
        const value = found(this.events);
        if (value === undefined) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve(value);
      };
      this.#waiting.add(check);
      check();
    });
  }

  #lastReports(): string {
    return this.pages
      .map((_page, tab) => {
        const own = this.events.filter((event) => event.tab === tab).map(({ report }) => JSON.stringify(report));
        // Why it ended says more than what came after.
        const failures = own.filter((text) => /"(?:kind|type)":"(?:failed|lost)"/.test(text)).slice(0, 2);
        const said = [...failures, ...own.slice(-3)].map((text) => text.slice(0, 600));
        return `\ntab ${tab}: ${said.join('\n  ')}`;
      })
      .join('');
  }

  /** The rank of each tab, from its own reports. */
  rankOf(tab: number): number | undefined {
    return this.events.find((event) => event.tab === tab && event.report.type === 'rank')?.report.rank;
  }

  rendererPid(tab: number): Promise<number> {
    return rendererPidOf(this.browser, this.pages[tab]!);
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.server.close();
  }
}

/** Process id of the renderer of one page: the one that grows when the page takes a large block of memory. */
export async function rendererPidOf(browser: Browser, page: Page): Promise<number> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  const pids = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
  const before = new Map(pids.map((pid) => [pid, residentBytes(pid)]));
  await page.evaluate(() => {
    (globalThis as { ballast?: Uint8Array }).ballast = new Uint8Array(2 ** 28).fill(1);
  });
  const grown = pids.map((pid) => ({ pid, by: residentBytes(pid) - before.get(pid)! })).sort((a, b) => b.by - a.by)[0];
  await session.detach();
  if (!grown || grown.by < 2 ** 27) throw new Error(`no renderer grew by 256 MiB; the largest by ${grown?.by}`);
  return grown.pid;
}

function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096;
}
