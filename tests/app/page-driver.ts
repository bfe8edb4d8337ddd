// Drives the real page, built as people get it, in headless Chromium: a page server in this process, tabs of one
// browser profile, and the page's own reports.

import { chromium } from 'playwright-core';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { ensureChromium, launchOptions } from '../../src/cli/machine/browser.ts';
import { startPageServer } from '../../src/server/page-server.ts';
import type { PageServer } from '../../src/server/page-server.ts';
import { PATIENCE_MS } from '../support/patience.ts';

export interface Report {
  readonly type: 'session' | 'rank' | 'page';
  readonly rank?: number;
  readonly state?: string;
  readonly text?: string;
  readonly event?: Readonly<Record<string, unknown>> & {
    readonly kind?: string;
    readonly type?: string;
    readonly metrics?: StepReport;
  };
}
export interface StepReport {
  readonly step: number;
  readonly loss: number;
  readonly spans: readonly unknown[];
}

/** What one page tells, whichever browser it is in. */
export class TabReports {
  readonly reports: Report[] = [];
  readonly #waiting = new Set<() => void>();

  take(report: Report): void {
    this.reports.push(report);
    for (const check of this.#waiting) check();
  }

  /**
   * Resolves with the first report, past or future, that fits; rejects when the page reports an error first, or after
   * `limitMs`.
   */
  until(what: string, fits: (report: Report) => boolean, limitMs = PATIENCE_MS): Promise<Report> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle();
      };
      const check = (): void => {
        const found = this.reports.find(fits);
        const error = this.reports.find(({ type, state }) => type === 'page' && state === 'error');
        if (found) end(() => resolve(found));
        else if (error) end(() => reject(new Error(`waiting for ${what}, the page said: ${error.text}`)));
      };
      const timer = setTimeout(
        () =>
          end(() =>
            reject(
              new Error(
                `no ${what} within ${limitMs} ms; the last report was ${JSON.stringify(this.reports.at(-1) ?? 'none').slice(0, 500)}`,
              ),
            ),
          ),
        limitMs,
      );
      this.#waiting.add(check);
      check();
    });
  }

  done(rank: number): Promise<Report> {
    return this.until(`end of rank ${rank}`, (report) => report.rank === rank && report.event?.kind === 'done');
  }

  step(step: number): Promise<Report> {
    return this.until(`step ${step}`, ({ event }) => event?.metrics !== undefined && event.metrics.step >= step);
  }

  losses(rank: number): number[] {
    return this.reports
      .filter((report) => report.rank === rank && report.event?.kind === 'step')
      .map((report) => report.event!.metrics!.loss);
  }
}

export class Tab extends TabReports {
  readonly page: Page;

  constructor(page: Page) {
    super();
    this.page = page;
  }

  state(): Promise<{ phase: string; status: string; problems: string[]; run?: { step: number; points: number } }> {
    return this.page.evaluate(() =>
      JSON.parse(JSON.stringify((window as unknown as { tabmesh: { state: unknown } }).tabmesh.state)),
    );
  }
}

export class PageDriver {
  readonly #server: PageServer;
  readonly #browser: Browser;
  readonly #contexts: BrowserContext[] = [];

  private constructor(server: PageServer, browser: Browser) {
    this.#server = server;
    this.#browser = browser;
  }

  /** `gpu` false: a browser that finds no adapter, not even the software one. */
  static async start({ gpu = true } = {}): Promise<PageDriver> {
    const options = launchOptions(ensureChromium(console.log));
    const args = gpu
      ? options.args
      : [...options.args.filter((flag) => flag !== '--enable-unsafe-webgpu'), '--disable-gpu'];
    return new PageDriver(await startPageServer({ host: '127.0.0.1' }), await chromium.launch({ ...options, args }));
  }

  get address(): string {
    return this.#server.url;
  }

  /**
   * Tabs of one profile: they share BroadcastChannel, locks and storage. `before` runs in the page before its scripts.
   */
  async profile(): Promise<{
    open(fragment: string, before?: () => void): Promise<Tab>;
    readonly context: BrowserContext;
  }> {
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 1600 }, acceptDownloads: true });
    this.#contexts.push(context);
    const tabs = new Map<Page, Tab>();
    await context.exposeBinding('tabmeshReport', ({ page }, text: string) =>
      tabs.get(page)?.take(JSON.parse(text) as Report),
    );
    return {
      context,
      open: async (fragment, before) => {
        const page = await context.newPage();
        if (before) await page.addInitScript(before);
        const tab = new Tab(page);
        tabs.set(page, tab);
        page.on('pageerror', (error) => tab.take({ type: 'page', state: 'error', text: `uncaught: ${error.message}` }));
        await page.goto(this.address + fragment);
        return tab;
      },
    };
  }

  async close(): Promise<void> {
    for (const context of this.#contexts) await context.close();
    await this.#browser.close();
    await this.#server.close();
  }
}

/** A run that the references finish in seconds. */
export function tinyJob(
  config: Readonly<Record<string, unknown>> = {},
  more: Readonly<Record<string, unknown>> = {},
): string {
  const tiny = {
    model: 'gpt2-nano',
    data: 'copy',
    context: 16,
    layout: 'pp=2',
    microbatches: 2,
    batch: 4,
    steps: 5,
    evalEvery: 0,
    sampleEvery: 0,
  };
  return encodeURIComponent(JSON.stringify({ config: { ...tiny, ...config }, files: {}, ...more }));
}

/** How many pixels of a screenshot are close to a colour; counted by the page, which can decode a PNG. */
export async function pixelsNear(
  page: Page,
  png: Buffer,
  [r, g, b]: readonly [number, number, number],
): Promise<number> {
  return page.evaluate(
    async ([base64, red, green, blue]) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
      const draw = new OffscreenCanvas(image.width, image.height).getContext('2d')!;
      draw.drawImage(image, 0, 0);
      const { data } = draw.getImageData(0, 0, image.width, image.height);
      let near = 0;
      for (let i = 0; i < data.length; i += 4)
        if (Math.abs(data[i]! - red) + Math.abs(data[i + 1]! - green) + Math.abs(data[i + 2]! - blue) < 24) near++;
      return near;
    },
    [png.toString('base64'), r, g, b] as const,
  );
}
