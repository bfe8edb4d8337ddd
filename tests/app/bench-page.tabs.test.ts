// The bench page as a person and as a program meets it, in real Chromium: a run with another library, rows and files, a
// stop midway, a run by link beside the saved one, and what it says when a library, the GPU or a file fails.

import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Comparison } from '../../src/app/bench/comparison.ts';
import type { BenchState } from '../../src/app/bench/controller.ts';
import type { Report } from '../../src/app/bench/bench-file.ts';
import { scaledLimit } from '../support/patience.ts';
import { PageDriver } from './page-driver.ts';

const TINY = 'bench.html#only=matmul&rounds=1&tune=0';

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

interface Program {
  readonly state: BenchState;
  readonly report?: Report;
  readonly comparison?: Comparison;
  readonly json?: string;
  readonly markdown?: string;
}
function read<K extends keyof Program>(page: Page, name: K): Promise<Program[K]> {
  return page.evaluate((key) => (window as unknown as { tabmeshBench: Program }).tabmeshBench[key as K], name);
}
async function until(page: Page, what: string, fits: (state: BenchState) => boolean): Promise<BenchState> {
  await expect.poll(async () => fits(await read(page, 'state')), { interval: 100, message: what }).toBe(true);
  return read(page, 'state');
}
const isDone = ({ phase, status }: BenchState): boolean => phase === 'ready' && status.startsWith('done');

describe('a run', () => {
  it('beside a library that loads and one that does not: rows, correctness, files, and a link that compares with the saved run', async () => {
    const profile = await driver.profile();
    await profile.context.route(/assets\/tfjs-/, (route) => route.abort());
    const { page } = await profile.open(`${TINY}&peers=jax-js,tfjs&cases=gelu&run=1`);
    const { adapter, browser, problems } = await until(page, 'the end of the run', isDone);
    expect(adapter).not.toBe('');
    expect(browser).toMatch(/Chrom\w+ \d+\.\d+/);
    expect(problems).toEqual([]);
    const report = (await read(page, 'report'))!;
    expect(report.results.map(({ shape, library }) => `${shape} ${library}`).toSorted()).toEqual(
      ['256x256x256', '256x384x1536', '6x256x64x256'].flatMap((shape) => [`${shape} jax-js`, `${shape} tabmesh`]),
    );
    for (const row of [...report.results, ...report.cases]) {
      expect(row.correct, `${row.workload} ${row.shape} ${row.library}`).toBe(true);
      expect(row.medianMs).toBeGreaterThan(0);
    }
    expect(report.cases.length).toBeGreaterThan(1);
    expect(report.missing.map(({ library }) => library)).toEqual(['tfjs', 'tfjs', 'tfjs']);
    const table = page.getByRole('region', { name: 'Results of matmul' });
    expect(await table.locator('tr[data-shape]').count()).toBe(6);
    expect(await table.locator('tr.own td.yes').count()).toBe(3);
    expect(await table.locator('tr.why[data-library=tfjs]').first().innerText()).toMatch(/TensorFlow\.js\s+\S+/);
    expect(await page.locator('.roofline .point').count()).toBe(6);
    await page.setViewportSize({ width: 390, height: 800 });
    expect(
      await page.evaluate(() => document.documentElement.scrollWidth),
      'width of the page on a phone',
    ).toBeLessThanOrEqual(390);
    await page.setViewportSize({ width: 1280, height: 1000 });
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download JSON' }).click();
    const file = await (await download).path();
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ adapter, browser, results: report.results });
    expect(await read(page, 'markdown')).toContain('| 256x256x256 | jax-js | yes |');

    // The same tab profile, by link, without the library: the browser has kept the run.
    const { page: again } = await profile.open(`${TINY}&run=1`);
    await until(again, 'the end of the second run', isDone);
    await again.getByRole('button', { name: /^The last run/ }).click();
    const comparison = (await read(again, 'comparison'))!;
    expect(comparison.rows.map(({ library }) => library)).toEqual(['tabmesh', 'tabmesh', 'tabmesh']);
    expect(comparison.differences).toEqual([]);
    expect(comparison.unmatched).toEqual({ now: 0, before: 3 + report.cases.length });
    await again.getByRole('columnheader', { name: 'vs saved' }).waitFor();
    const load = (text: string) =>
      again
        .getByLabel('Load a JSON file')
        .setInputFiles({ name: 'old.json', mimeType: 'application/json', buffer: Buffer.from(text) });
    await load(JSON.stringify({ ...report, results: [{ ...report.results[0], medianMs: 'fast' }] }));
    await again
      .getByRole('alert')
      .getByText('saved run: at results[0].medianMs: expected milliseconds above 0, got "fast"')
      .waitFor();
    expect((await read(again, 'comparison'))!.rows).toHaveLength(3);
    await load(JSON.stringify({ ...report, adapter: 'another gpu' }));
    await again.getByText(`The adapter is another one: ${adapter} now, another gpu in the saved run.`).waitFor();
  });

  it('on WebAssembly with two threads, chosen by key and label', async () => {
    const { page } = await (await driver.profile()).open('bench.html#only=adamw&rounds=1&tune=0');
    await until(page, 'the adapter', ({ phase }) => phase === 'ready');
    const device = page.getByLabel('Device');
    await device.focus();
    // The second of the list.
    await page.keyboard.press('ArrowDown');
    expect(await device.inputValue()).toBe('wasm');
    await page.getByLabel('Threads').fill('2');
    await page.keyboard.press('Tab');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    const { adapter, problems } = await until(page, 'the end of the run', isDone);
    expect(problems).toEqual([]);
    expect(adapter).toContain('2 threads');
    const { results, settings } = (await read(page, 'report'))!;
    expect(results.map(({ library, correct, threads }) => [library, correct, threads])).toEqual([['tabmesh', true, 2]]);
    expect(settings).toBe('backend=wasm&threads=2&only=adamw&rounds=1&tune=0');
  });

  it('stopped midway, and with its GPU lost: what was measured stays, and the page goes on', async () => {
    const { page } = await (await driver.profile()).open(TINY);
    await until(page, 'the adapter', ({ phase }) => phase === 'ready');
    const button = (name: string) => page.getByRole('button', { name, exact: true });
    await button('Run').click();
    await until(page, 'the first shape', ({ done }) => done >= 2);
    await button('Stop').click();
    const stopped = await until(page, 'the stop', ({ phase }) => phase === 'ready');
    expect(stopped.status).toBe('stopped; the results so far are below');
    const report = (await read(page, 'report'))!;
    expect(report.end).toBe('stopped');
    expect(report.results.length).toBeGreaterThan(0);
    expect(report.results.length).toBeLessThan(3);

    const worker = page.workers().at(-1)!;
    await worker.evaluate(() => {
      const { prototype } = (globalThis as unknown as { GPUAdapter: { prototype: GPUAdapter } }).GPUAdapter;
      const { requestDevice } = prototype;
      prototype.requestDevice = async function (...given) {
        const device = await requestDevice.apply(this, given);
        (globalThis as { opened?: GPUDevice }).opened = device;
        return device;
      };
    });
    await button('Run').click();
    await until(page, 'the first shape again', ({ done, phase }) => phase === 'running' && done >= 2);
    await worker.evaluate(() => (globalThis as { opened?: GPUDevice }).opened!.destroy());
    await page.getByRole('alert').getByText('device: the GPU was lost (destroyed) during matmul').waitFor();
    expect(await read(page, 'report')).toMatchObject({ end: 'lost', results: [{ library: 'tabmesh', correct: true }] });
    await until(page, 'the page after the loss', ({ phase }) => phase === 'ready');
  });
});

it('the tuner explains a choice per shape', async () => {
  // A busy machine measures less in the same time.
  const budget = Math.min(600, Math.round(scaledLimit(20_000) / 1000));
  const { page } = await (await driver.profile()).open(`bench.html#only=matmul&budget=${budget}&run=tune`);
  await until(page, 'the choices', ({ phase, status }) => phase === 'ready' && status.startsWith('tuned'));
  const choices = page.locator('details.decision[data-kernel=matmul]');
  expect(await choices.count()).toBe(3);
  await choices.first().locator('summary').click();
  expect(await choices.first().innerText()).toMatch(/M=256 N=1536 K=384[\s\S]*matmul (keeps|takes) [\s\S]*chosen/);
});

it('a browser without a GPU is told what to do, a link with a mistake what is wrong', async () => {
  const plain = await PageDriver.start({ gpu: false });
  try {
    const { page } = await (await plain.profile()).open('bench.html#only=matmull&run=1');
    const { status } = await until(page, 'the sentence', ({ phase }) => phase === 'no-device');
    expect(status).toMatch(/^device: .*(no WebGPU|no adapter); (use|update) /);
    expect(await page.getByRole('button', { name: 'Run', exact: true }).isDisabled()).toBe(true);
  } finally {
    await plain.close();
  }
  const { page } = await (await driver.profile()).open('bench.html#only=matmull&run=1');
  await page.getByRole('alert').getByText('link: unknown workload "matmull"; expected some of').waitFor();
  await page.getByRole('link', { name: 'Train across tabs' }).click();
  await page.getByRole('link', { name: 'Kernels' }).click();
  await page.getByRole('button', { name: 'Run', exact: true }).waitFor();
});
