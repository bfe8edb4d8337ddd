// Four ways to run the tests, by file name: *.test.ts in Node, *.gpu.test.ts in Node with Dawn, *.browser.test.ts
// inside Chromium,
// *.tabs.test.ts in Node driving real tabs. Files of the first and the last run two at a time; the others share one GPU
// or one software renderer.

import { defineConfig } from 'vitest/config';
import { playwright } from '@vitest/browser-playwright';
import { BROWSER_DEPENDENCIES } from './src/server/pages/config.ts';
import { wasmKernels } from './src/device/wasm/plugin.mjs';
import { findBrowser, launchOptions } from './src/cli/machine/browser.ts';

// Limits are for what hangs: a busy machine takes ten times as long as a quiet one.
const limits = { testTimeout: 850_000, hookTimeout: 400_000 };
// `order`: the projects run one after the other.
const slow = (order: number) => ({ ...limits, fileParallelism: false, maxWorkers: 1, sequence: { groupOrder: order } });
const browser = findBrowser();
// `npm run test:all`; what is sampled otherwise asks tests/support/sample.ts.
const all = process.env['TABMESH_TEST_ALL'] === '1';

export default defineConfig({
  plugins: [wasmKernels()],
  worker: { plugins: () => [wasmKernels()] },
  test: {
    // A run that found no file must not be green.
    passWithNoTests: false,
    expect: { poll: { timeout: 400_000, interval: 50 } },
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: 'node',
          environment: 'node',
          pool: 'forks',
          ...limits,
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/**/*.{browser,gpu,tabs}.test.ts'],
          setupFiles: ['tests/support/property-seed.ts'],
        },
      },
      {
        extends: true,
        // Dawn in one process: drivers do not like to be opened twice, and a device costs a second to make.
        test: {
          ...slow(1),
          name: 'gpu',
          environment: 'node',
          pool: 'forks',
          isolate: false,
          include: ['tests/**/*.gpu.test.ts'],
          setupFiles: ['tests/support/vulkan.ts'],
        },
      },
      {
        extends: true,
        optimizeDeps: { include: BROWSER_DEPENDENCIES },
        worker: { format: 'es' },
        test: {
          env: { TABMESH_TEST_ALL: all ? '1' : '' },
          ...slow(2),
          name: 'browser',
          include: ['tests/**/*.browser.test.ts'],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            ui: false,
            provider: playwright({ launchOptions: browser === undefined ? {} : launchOptions(browser) }),
            instances: [{ browser: 'chromium' }],
          },
        },
      },
      {
        extends: true,
        // Two at a time: tabs that break or stop are mostly waited for.
        test: {
          ...slow(3),
          fileParallelism: true,
          maxWorkers: 2,
          name: 'tabs',
          environment: 'node',
          pool: 'forks',
          include: ['tests/**/*.tabs.test.ts'],
          exclude: all ? [] : ['tests/**/*.firefox.tabs.test.ts'],
          setupFiles: ['tests/support/browser-patience.ts'],
          globalSetup: ['tests/support/prepare-pages.ts'],
        },
      },
    ],
  },
});
