// Real tabs with the collectives library in a worker each, joined over WebRTC, directly or through the UDP relay; the
// signals pass through this process.

import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { CollectiveReport, Program } from '../tabs/collective-program.ts';
import { PATIENCE_MS } from './patience.ts';
import { rendererPidOf } from './real-tabs.ts';
import { UdpRelay } from './udp-relay.ts';
import type { TestPages } from './test-pages.ts';
import type { Signal } from './udp-relay.ts';

export type Failed = Extract<CollectiveReport, { kind: 'failed' }>;

export interface CollectiveTabsOptions {
  readonly server: Pick<TestPages, 'url'>;
  readonly browser: Browser;
  readonly size: number;
  /** Seed of a relay between all tabs; without it they speak directly. */
  readonly relaySeed?: number;
  /** Tabs say good-bye when their page goes away. */
  readonly leave?: boolean;
}

export class CollectiveTabs {
  readonly pages: readonly Page[];
  readonly relay: UdpRelay | undefined;
  readonly reports: CollectiveReport[][];
  readonly #context: BrowserContext;
  readonly #browser: Browser;
  readonly #waiting: Set<() => void>;

  private constructor(
    browser: Browser,
    context: BrowserContext,
    pages: readonly Page[],
    relay: UdpRelay | undefined,
    reports: CollectiveReport[][],
    waiting: Set<() => void>,
  ) {
    this.#browser = browser;
    this.#context = context;
    this.pages = pages;
    this.relay = relay;
    this.reports = reports;
    this.#waiting = waiting;
  }

  /** Resolves when every tab is joined to every other. */
  static async open({
    server,
    browser,
    size,
    relaySeed,
    leave = false,
  }: CollectiveTabsOptions): Promise<CollectiveTabs> {
    const relay = relaySeed === undefined ? undefined : await UdpRelay.open(size, relaySeed);
    const context = await browser.newContext();
    const reports: CollectiveReport[][] = Array.from({ length: size }, () => []);
    const waiting = new Set<() => void>();
    const pages: Page[] = [];
    for (let rank = 0; rank < size; rank++) {
      const page = await context.newPage();
      await page.exposeBinding('collectiveReport', (_source, text: string) => {
        reports[rank]!.push(JSON.parse(text) as CollectiveReport);
        for (const check of [...waiting]) check();
      });
      await page.exposeBinding('collectiveSignal', async (_source, text: string) => {
        const { to, signal } = JSON.parse(text) as { to: number; signal: Signal };
        const told = relay ? relay.signal(rank, to, signal) : signal;
        if (told) await pages[to]!.evaluate(([from, data]) => window.tab.hear(from, data), [rank, told] as const);
      });
      await page.goto(
        `${server.url}tests/tabs/collective-page.html?rank=${rank}&size=${size}${leave ? '&leave=1' : ''}`,
      );
      await page.waitForFunction(() => 'tab' in window);
      pages.push(page);
    }
    const tabs = new CollectiveTabs(browser, context, pages, relay, reports, waiting);
    await Promise.all(pages.map((page) => page.evaluate(() => window.tab.connect())));
    await tabs.all('joined', PATIENCE_MS, (own) => own.find(({ kind }) => kind === 'open'));
    return tabs;
  }

  async run(program: Program): Promise<void> {
    await Promise.all(this.pages.map((page) => page.evaluate((given) => window.tab.run(given), program)));
  }

  /**
   * Resolves with what `found` returns for each of `ranks`, once it does for all; rejects after `timeoutMs` with what
   * each said last.
   */
  all<T>(
    what: string,
    timeoutMs: number,
    found: (own: readonly CollectiveReport[]) => T | undefined,
    ranks: readonly number[] = this.reports.map((_, rank) => rank),
  ): Promise<T[]> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle();
      };
      const timer = setTimeout(
        () =>
          end(() =>
            reject(
              new Error(
                `not within ${timeoutMs} ms: ${what} on ranks ${ranks.join(', ')}; they said last ${JSON.stringify(this.reports.map((own) => own.at(-1))).slice(0, 3000)}`,
              ),
            ),
          ),
        timeoutMs,
      );
      const check = (): void => {
        const broken = this.reports.flat().find((report) => report.kind === 'error');
        if (broken?.kind === 'error') {
          end(() => reject(new Error(broken.message)));
          return;
        }
        const values = ranks.map((rank) => found(this.reports[rank]!));
        if (values.every((value) => value !== undefined)) end(() => resolve(values as T[]));
      };
      this.#waiting.add(check);
      check();
    });
  }

  failures(ranks: readonly number[], timeoutMs: number): Promise<Failed[]> {
    return this.all(
      'a failure',
      timeoutMs,
      (own) => own.find((report): report is Failed => report.kind === 'failed'),
      ranks,
    );
  }

  rendererPid(rank: number): Promise<number> {
    return rendererPidOf(this.#browser, this.pages[rank]!);
  }

  async close(): Promise<void> {
    await this.#context.close();
    await this.relay?.close();
  }
}
