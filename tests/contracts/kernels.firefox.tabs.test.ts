// The kernel contract in Firefox on lavapipe: naga, a second compiler of WGSL, and a second driver. Only in `npm run
// test:all`: it takes minutes. Firefox tells pages nothing of their adapter; lavapipe is the only driver that it is
// given.

import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureLavapipe } from '../../src/cli/machine/lavapipe.ts';
import { findVulkanLoader } from '../../src/cli/machine/vulkan.ts';
import { Firefox } from '../support/firefox.ts';
import type { FirefoxTab } from '../support/firefox.ts';
import { kernels } from '../support/kernels.ts';
import { openTestPages } from '../support/test-pages.ts';
import type { TestPages } from '../support/test-pages.ts';

const PREFERENCES = {
  'dom.webgpu.enabled': true,
  'dom.webgpu.workers.enabled': true,
  'gfx.webgpu.ignore-blocklist': true,
  'dom.webgpu.allow-in-parent': true,
};

let pages: TestPages;
let firefox: Firefox;
let loader: string;
let tab: FirefoxTab;
beforeAll(async () => {
  const icd = ensureLavapipe(console.log);
  // Firefox looks for the loader by its name alone; the rest of the folder where it lies may shadow libraries of
  // Firefox.
  loader = mkdtempSync(join(tmpdir(), 'tabmesh-vulkan-'));
  symlinkSync(findVulkanLoader()!.path, join(loader, 'libvulkan.so.1'));
  pages = await openTestPages();
  firefox = await Firefox.launch(PREFERENCES, {
    VK_DRIVER_FILES: icd,
    VK_ICD_FILENAMES: icd,
    LD_LIBRARY_PATH: loader,
    GALLIVM_PERF: 'nopt',
    LP_NATIVE_VECTOR_WIDTH: '128',
  });
  tab = await firefox.open(`${pages.url}tests/contracts/kernels-page.html`);
  await tab.page.waitForFunction(() => 'contract' in window);
});
afterAll(async () => {
  await firefox?.close();
  await pages?.close();
  if (loader) rmSync(loader, { recursive: true, force: true });
});

it('every kernel is on the page', async () => {
  expect(await tab.page.evaluate(() => window.contract.cases)).toEqual(
    kernels.map(({ name, cases }) => [name, cases.length]),
  );
});

it.each(kernels.map(({ name, cases }) => [name, cases.length] as const))('%s', async (name, count) => {
  for (let at = 0; at < count; at++) {
    const { runs, failures } = await tab.page.evaluate((...given) => window.contract.check(...given), name, at);
    expect(failures).toEqual([]);
    expect(runs).toBeGreaterThan(0);
  }
});
