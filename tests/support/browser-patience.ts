// Setup of the tests that drive tabs: every browser that they start waits for PATIENCE_MS, not for Playwright's 30 s.

import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';
import { PATIENCE_MS } from './patience.ts';

const launch = chromium.launch.bind(chromium);

/** Pages of `browser` get the patience with their context. */
function patient(browser: Browser): Browser {
  const newContext = browser.newContext.bind(browser);
  browser.newContext = async (options) => {
    const context = await newContext(options);
    context.setDefaultTimeout(PATIENCE_MS);
    return context;
  };
  const newPage = browser.newPage.bind(browser);
  browser.newPage = async (options) => {
    const page = await newPage(options);
    page.setDefaultTimeout(PATIENCE_MS);
    return page;
  };
  return browser;
}

chromium.launch = async (options) => patient(await launch({ timeout: PATIENCE_MS, ...options }));
