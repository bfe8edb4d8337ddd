// Firefox for a test: the installed one, headless, driven over WebDriver BiDi, and pages whose reports come as those of
// Chromium's do (tests/app/page-driver.ts).

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import type { Browser, ElementHandle, Page } from 'puppeteer-core';
import { ensureFirefox } from '../../src/cli/machine/firefox.ts';
import { TabReports } from '../app/page-driver.ts';
import type { Report } from '../app/page-driver.ts';
import { PATIENCE_MS } from './patience.ts';

/** Nothing of it asks servers of Mozilla or of anybody else. */
const QUIET = {
  'app.update.disabledForTesting': true,
  'app.normandy.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'toolkit.telemetry.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'services.settings.server': 'http://localhost:1/',
  'network.trr.mode': 5,
};

export type Preferences = Readonly<Record<string, boolean | number | string>>;

export class FirefoxTab extends TabReports {
  readonly page: Page;

  constructor(page: Page) {
    super();
    this.page = page;
  }

  /** What `window.tabmesh.state` of the training page holds. */
  state(): Promise<{ phase: string; status: string; problems: string[] }> {
    return this.page.evaluate(() =>
      JSON.parse(JSON.stringify((globalThis as unknown as { tabmesh: { state: unknown } }).tabmesh.state)),
    );
  }

  /** Presses a button of an element of the page, once it is there. */
  async press(element: string, button: string): Promise<void> {
    const there = await this.page.waitForFunction(
      (name, text) =>
        [...(document.querySelector(name)?.shadowRoot?.querySelectorAll('button') ?? [])].find(
          (one) => one.textContent!.trim() === text,
        ),
      {},
      element,
      button,
    );
    await (there as ElementHandle<HTMLButtonElement>).click();
  }

  /** The text of the page as a person sees it, of all its elements. */
  text(): Promise<string> {
    return this.page.evaluate(() => {
      const textOf = (node: Node): string => {
        if (node instanceof Element && node.shadowRoot) return textOf(node.shadowRoot);
        return node.nodeType === Node.TEXT_NODE ? node.textContent! : [...node.childNodes].map(textOf).join(' ');
      };
      return textOf(document.body).replace(/\s+/g, ' ');
    });
  }
}

export class Firefox {
  readonly browser: Browser;
  readonly #home: string;

  private constructor(browser: Browser, home: string) {
    this.browser = browser;
    this.#home = home;
  }

  /** Without Firefox it rejects with the sentence how to install it. */
  static async launch(preferences: Preferences = {}, env: NodeJS.ProcessEnv = {}): Promise<Firefox> {
    const executablePath = ensureFirefox(console.log);
    // Firefox refuses a home that belongs to somebody else, as a root's may.
    const home = mkdtempSync(join(tmpdir(), 'tabmesh-firefox-'));
    try {
      const browser = await puppeteer.launch({
        browser: 'firefox',
        executablePath,
        headless: true,
        timeout: PATIENCE_MS,
        protocolTimeout: PATIENCE_MS,
        // The tests end it; a signal to them is theirs to handle.
        handleSIGINT: false,
        handleSIGTERM: false,
        handleSIGHUP: false,
        env: { ...process.env, ...env, HOME: home, MOZ_CRASHREPORTER_DISABLE: '1' },
        extraPrefsFirefox: { ...QUIET, ...preferences },
      });
      return new Firefox(browser, home);
    } catch (error) {
      rmSync(home, { recursive: true, force: true });
      throw error;
    }
  }

  /** @param report name of the global function that the page tells its reports to. */
  async open(url: string, report = 'tabmeshReport'): Promise<FirefoxTab> {
    const page = await this.browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const tab = new FirefoxTab(page);
    await page.exposeFunction(report, (text: string) => tab.take(JSON.parse(text) as Report));
    page.on('pageerror', (error) => {
      tab.take({
        type: 'page',
        state: 'error',
        text: `uncaught: ${error instanceof Error ? error.message : String(error)}`,
      });
    });
    await page.goto(url);
    return tab;
  }

  async close(): Promise<void> {
    try {
      await this.browser.close();
    } finally {
      rmSync(this.#home, { recursive: true, force: true });
    }
  }
}
