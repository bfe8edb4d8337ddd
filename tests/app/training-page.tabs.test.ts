// The training page under a person's hands, in real Chromium on the references: a form that blocks what it cannot
// train, buttons by keyboard alone, charts.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from 'playwright-core';
import { PageDriver, tinyJob } from './page-driver.ts';

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
/** Text of the button that has the focus; undefined when none has. */
const focused = (page: Page): Promise<string | undefined> =>
  page.evaluate(() => {
    const element = document.querySelector('tabmesh-app')!.shadowRoot!.activeElement;
    return element?.tagName === 'BUTTON' ? element.textContent!.trim() : undefined;
  });

describe('the form', () => {
  it('marks what it cannot train, says why, and begins nothing until it is mended', async () => {
    const { page } = await (await driver.profile()).open('#backend=cpu');
    await page.locator('summary', { hasText: 'Settings' }).click();
    const write = async (name: string, value: string): Promise<void> => {
      await page.locator(`run-form input[name=${name}]`).fill(value);
      await page.keyboard.press('Tab');
    };
    await write('steps', 'many');
    const steps = page.locator('run-form input[name=steps]');
    expect(await steps.getAttribute('aria-invalid')).toBe('true');
    expect(await steps.inputValue()).toBe('many');
    expect(await page.locator('#steps-wrong').innerText()).toMatch(
      /expected a whole number from 1 to 10000000, got "many"/,
    );
    expect(await button(page, 'Train now').isDisabled()).toBe(true);
    await page.getByText('Nothing begins before this is mended: steps: expected a whole number').waitFor();
    // Clicking straight out of a wrong value begins nothing either: the field is read first.
    await write('steps', '3');
    expect(await button(page, 'Train now').isEnabled()).toBe(true);
    await page.locator('run-form input[name=batch]').fill('7');
    const box = (await button(page, 'Train now').boundingBox())!;
    await page.mouse.click(box.x + 5, box.y + 5);
    expect(await page.locator('run-form input[name=batch]').getAttribute('aria-invalid')).toBe('true');
    expect(
      await page.evaluate(() => (window as unknown as { tabmesh: { state: { phase: string } } }).tabmesh.state.phase),
    ).toBe('idle');
    // A layout brings the rows along, and says so; what it takes is there before Train.
    await write('layout', 'dp=3');
    await page.getByText(/rows per step is now \d+ instead of 7, so that dp=3/).waitFor();
    expect(await button(page, 'Train now').isEnabled()).toBe(true);
    await page
      .getByLabel('What it takes')
      .getByText(/^[\d,]+ parameters$/)
      .waitFor();
    expect(await page.getByLabel('What it takes').innerText()).toMatch(/MB per device .*rows \(dp\)/);
  });
});

describe('a task that is no language model', () => {
  it('is chosen in the form or by a link, and its run shows the loss and no samples', async () => {
    const tab = await (
      await driver.profile()
    ).open('#backend=cpu&model=mlp-nano&data=planted&steps=30&evalEvery=10&tune=none');
    const { page } = tab;
    await page.locator('summary', { hasText: 'Settings' }).click();
    const field = (name: string) => page.locator(`run-form [name=${name}]`);
    for (const name of ['tokenizer', 'context', 'sequence', 'sampleEvery']) {
      expect(await field(name).isDisabled(), name).toBe(true);
      expect(await page.locator(`#${name}-help`).innerText()).toMatch(
        /^Not used: mlp-nano (knows no tokens|writes no text)\.$/,
      );
    }
    expect(await field('steps').isEnabled()).toBe(true);
    await page
      .getByLabel('What it takes')
      .getByText(/^[\d,]+ parameters$/)
      .waitFor();
    // There and back: the data follow the model.
    await field('model').selectOption('gpt2-nano');
    await page.getByText('data is now moby-dick, which gpt2-nano learns').waitFor();
    expect(await field('tokenizer').isEnabled()).toBe(true);
    await field('data').selectOption('planted');
    await page.getByText('the model is now mlp-nano, which learns planted').waitFor();
    await button(page, 'Train now').click();
    await tab.done(0);
    const numbers = await page.getByLabel('Numbers of the run', { exact: true }).innerText();
    expect(numbers).toMatch(/30 \/ 30\s+loss\s+\d\.\d+\s+held-out loss\s+\d\.\d+\s+rows\/s/);
    expect(await page.getByLabel('More numbers of the run').innerText()).not.toContain('vocabulary');
    expect(await page.locator('section.samples').count()).toBe(0);
    expect(await page.getByLabel('Loss curve').isVisible()).toBe(true);
  });
});

describe('the buttons', () => {
  it('take a double click as one, and work by keyboard alone', async () => {
    const tab = await (
      await driver.profile()
    ).open(`#backend=cpu&plan=${tinyJob({ steps: 5000, layout: 'dp=1', microbatches: 1 })}`);
    const { page } = tab;
    await button(page, 'Train now').dblclick();
    await tab.step(2);
    expect((await tab.state()).phase).toBe('training');
    await button(page, 'Stop').focus();
    await page.keyboard.press('Enter');
    await tab.done(0);
    // The button is gone, and the focus is on the next one that makes sense.
    await expect.poll(() => focused(page)).toBe('Train now');
    tab.reports.length = 0;
    await page.keyboard.press('Enter');
    await tab.step(1);
    await expect.poll(() => focused(page)).toBe('Pause');
    await page.keyboard.press('Enter');
    await expect.poll(async () => (await tab.state()).phase).toBe('paused');
    expect(await focused(page)).toBe('Resume');
    await page.keyboard.press('Enter');
    await expect.poll(async () => (await tab.state()).phase).toBe('training');
    const reached = tab.losses(0).length;
    await expect.poll(() => tab.losses(0).length).toBeGreaterThan(reached + 3);
    expect(await focused(page), 'after repaints').toBe('Pause');
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Stop');
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Save');
    const saved = page.waitForEvent('download');
    await page.keyboard.press('Enter');
    expect((await saved).suggestedFilename()).toMatch(/^tabmesh-step-\d+\.safetensors$/);
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Sample now');
    await page.keyboard.press('Enter');
    // A task has no words.
    await page.getByLabel('Notes').getByText('there is no sample').waitFor();
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Shift+Tab');
    tab.reports.length = 0;
    await page.keyboard.press('Enter');
    await tab.done(0);
  });
});

describe('the charts', () => {
  it('say the value at a step by keyboard and pointer, and keep a zoom while steps come', async () => {
    const tab = await (
      await driver.profile()
    ).open(`#auto=1&backend=cpu&plan=${tinyJob({ steps: 5000, layout: 'dp=1', microbatches: 1 })}`);
    const { page } = tab;
    await tab.step(12);
    const plot = page.locator('line-chart.loss .plot');
    const said = (): Promise<string | null> => plot.getAttribute('aria-valuetext');
    await plot.focus();
    await page.keyboard.press('Home');
    const loss = (i: number): string => tab.losses(0)[i]!.toFixed(3);
    expect(await said()).toContain(`step 1: training ${loss(0)}`);
    await page.keyboard.press('ArrowRight');
    expect(await said()).toContain(`step 2: training ${loss(1)}`);
    await page.keyboard.press('+');
    const zoom = () =>
      page.locator('line-chart.loss').evaluate((chart) => (chart as unknown as { zoom?: [number, number] }).zoom);
    const before = await zoom();
    expect(before).toBeDefined();
    await tab.step(25);
    await expect.poll(() => page.locator('line-chart.loss').getAttribute('points').then(Number)).toBeGreaterThan(20);
    expect(await zoom()).toEqual(before);
    await page.getByRole('button', { name: 'Show all steps' }).click();
    expect(await zoom()).toBe(undefined);
    const box = (await plot.boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page
      .locator('line-chart.loss')
      .getByText(/^at step \d+$/)
      .waitFor();
    await page.getByLabel('Log axis').check();
    await page.getByLabel('Smooth').fill('0.9');
    await expect.poll(() => page.locator('line-chart.loss canvas').count()).toBe(1);
    for (const name of ['elapsed', 'time left', 'tokens seen', 'gradient norm', 'learning rate']) {
      expect(await page.locator('.stats div', { hasText: name }).locator('b').innerText(), name).toMatch(
        /^[\d,.e-]+( s| min)?$/,
      );
    }
    // On a phone the loss is on the first screen.
    await page.setViewportSize({ width: 390, height: 844 });
    const chart = (await page.locator('line-chart.loss').boundingBox())!;
    expect(chart.y + chart.height / 2, 'middle of the loss curve').toBeLessThan(844);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  });
});

describe('the model of a run', () => {
  it('writes on from a prompt while it trains, while it is paused and after the end; the history keeps the run', async () => {
    const profile = await driver.profile();
    const tab = await profile.open(
      `#backend=cpu&plan=${tinyJob({ data: 'moby-dick', steps: 5000, batch: 2, microbatches: 1 })}`,
    );
    const { page } = tab;
    const write = async (prompt: string): Promise<void> => {
      await page.getByLabel('Prompt', { exact: true }).fill(prompt);
      await page.getByRole('button', { name: 'Write' }).click();
      await page.getByLabel('Samples').locator('b', { hasText: prompt }).first().waitFor();
    };
    const saved = async (press: () => Promise<void>): Promise<string> => {
      const download = page.waitForEvent('download');
      await press();
      return (await download).suggestedFilename();
    };
    await button(page, 'Train now').click();
    await tab.step(2);
    await page.getByLabel('Tokens', { exact: true }).fill('4');
    await page.getByLabel('Temperature').fill('hot');
    await page.getByText('temperature: expected a number, got "hot"').waitFor();
    await page.getByLabel('Temperature').fill('0');
    await write('the whale');
    await button(page, 'Pause').click();
    await write('a ship');
    const { run } = await tab.state();
    expect(await saved(() => button(page, 'Save').click())).toBe(`tabmesh-step-${run!.step}.safetensors`);
    expect((await tab.state()).run!.step, 'steps made by a run that is paused').toBe(run!.step);
    await button(page, 'Stop').click();
    await Promise.all([tab.done(0), tab.done(1)]);
    await write('the sea');
    const { step } = (await tab.state()).run!;
    expect(await saved(() => button(page, `Save step ${step}`).click())).toBe(`tabmesh-step-${step}.safetensors`);
    // The next run takes the place of the one that stayed.
    await page.reload();
    const history = page.getByRole('list', { name: 'Runs in this browser' });
    const name = history.getByLabel('Name of the run');
    expect(await name.inputValue()).toBe('gpt2-nano, moby-dick, pp=2');
    await name.fill('first try');
    await name.press('Enter');
    await page.reload();
    expect(await name.inputValue()).toBe('first try');
    expect(await history.innerText()).toMatch(new RegExp(`stopped at step ${step} of 5000, loss \\d`));
    expect(await saved(() => page.getByRole('button', { name: 'CSV of first try' }).click())).toMatch(
      /^tabmesh-first-try-\d{4}-\d\d-\d\d\.csv$/,
    );
    await page.getByLabel('Draw the loss of first try').check();
    await page.locator('line-chart.loss .key', { hasText: 'first try' }).waitFor();
    // What goes on from its checkpoint has its curve and its samples.
    await button(page, `Resume from step ${step}`).click();
    await expect.poll(async () => (await tab.state()).run?.points ?? 0).toBeGreaterThanOrEqual(step);
    await page.getByLabel('Samples').locator('b', { hasText: 'the whale' }).waitFor();
    await button(page, 'Stop').click();
    await page.getByRole('button', { name: 'Delete first try' }).last().click();
    await expect.poll(() => history.locator('li').count()).toBeLessThan(2);
  });
});

describe('a room', () => {
  it('tells who is invited what it is about before a device is lent, and by which name its tabs go', async () => {
    const profile = await driver.profile();
    const room = '#room=invited&key=AAAAAAAAAAAAAAAAAAAAAA&broker=none&backend=cpu';
    const first = await profile.open(`${room}&auto=1&plan=${tinyJob({ layout: 'dp=2' })}`);
    await first.until('roster', ({ event }) => event?.type === 'roster');
    await first.page.getByLabel('Name of this tab').fill('Ann');
    await first.page.keyboard.press('Enter');
    const { page } = await profile.open(room);
    await button(page, 'Look first').click();
    const said = page.getByLabel('What joining means');
    await said.getByText(/^Ann \w{3} wants to train$/).waitFor();
    expect(await said.innerText()).toMatch(
      /gpt2-nano as dp=2[\s\S]*no text: a task[\s\S]*not begun[\s\S]*network address/,
    );
    await said.getByText(/MB per device/).waitFor();
    await page.getByLabel('Name of this tab').fill('a\u202eb');
    await page.keyboard.press('Enter');
    await page.getByText('name: has characters that cannot be seen').waitFor();
    await button(page, 'Lend this device').click();
    await first.until('end', ({ event }) => event?.kind === 'done');
    // The card of a rank in another tab has its state, its memory and the link to it.
    const other = first.page.locator('mesh-map li', { hasNotText: '(this one)' });
    await expect
      .poll(() => other.innerText())
      .toMatch(/state\s+done[\s\S]*memory\s+about [\d.]+ [kM]B[\s\S]*same browser/);
  });
});
