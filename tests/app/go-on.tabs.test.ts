// A room goes on after the loss of a tab, on the software GPU: whoever stays goes on with its worker, device and
// kernels, at the right step, and the losses are those of a run that lost nobody.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { PageDriver, tinyJob } from './page-driver.ts';
import type { Report, Tab } from './page-driver.ts';

const KEY = 'A'.repeat(22);
const STEPS = 24;

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

const isStep = ({ event }: Report): boolean => event?.kind === 'step';
const stepOf = ({ event }: Report): number => event!.metrics!.step;

/** Tabs of a room, in the order of their age; the last wants the run. */
async function roomOf(name: string, count: number): Promise<Tab[]> {
  const profile = await driver.profile();
  const job = tinyJob({ layout: 'dp=2', steps: STEPS, checkpointEvery: 4, tune: 'none' }, { onLoss: 'resume' });
  const tabs: Tab[] = [];
  for (let i = 1; i <= count; i++) {
    const wish = i === count ? `&plan=${job}` : '';
    tabs.push(await profile.open(`#room=${name}&key=${KEY}&broker=none&backend=webgpu&auto=1${wish}`));
    await tabs.at(-1)!.until('roster', ({ event }) => event?.type === 'roster');
  }
  return tabs;
}

/** The last of each step, which may have been made twice. */
const lossesOf = (tab: Tab): Record<number, number> =>
  Object.fromEntries(tab.reports.filter(isStep).map(({ event }) => [event!.metrics!.step, event!.metrics!.loss]));
const over = (tab: Tab): Promise<unknown> =>
  expect.poll(() => tab.reports.some(({ event }) => event?.kind === 'done' && event['steps'] === STEPS)).toBe(true);

it.each([0, 1])('when rank %i is closed, a spare takes its place and the other goes on as it is', async (lost) => {
  const tabs = await roomOf(`lost-${lost}`, 3);
  const training = (): Tab[] => tabs.filter((tab) => tab.reports.some(({ rank }) => rank !== undefined));
  await expect.poll(() => training().filter((tab) => tab.reports.some(isStep)).length).toBe(2);
  const out = training().find((tab) => tab.reports.some(({ rank }) => rank === lost))!;
  const stays = training().find((tab) => tab !== out)!;
  await stays.step(9);
  await out.page.close();
  const spare = tabs.find((tab) => !training().includes(tab))!;
  await Promise.all([over(stays), over(spare)]);

  const readies = (tab: Tab) => tab.reports.filter(({ event }) => event?.kind === 'ready').map(({ event }) => event!);
  const [first, second] = readies(stays);
  expect(first!['kept']).toBe('nothing');
  expect(first!['pipelines']).toBeGreaterThan(10);
  expect(second).toMatchObject({ pipelines: 0, kept: 'plans' });
  expect(readies(spare)).toMatchObject([{ kept: 'nothing' }]);
  const again = stays.reports.findIndex(({ event }) => event === second);
  const next = stays.reports.slice(again).find(isStep)!;
  const before = Math.max(...stays.reports.slice(0, again).filter(isStep).map(stepOf));
  // Nor has it allocated anything.
  const memory = [stays.reports.slice(0, again), stays.reports.slice(again)].map((reports) =>
    Math.max(...reports.filter(isStep).map(({ event }) => event!['memoryBytes'] as number)),
  );
  expect(memory[1]).toBe(memory[0]);
  expect(stepOf(next) % 4).toBe(0);
  expect(stepOf(next)).toBeGreaterThanOrEqual(8);
  expect(stepOf(next)).toBeLessThanOrEqual(before + 1);

  const whole = await roomOf(`whole-${lost}`, 2);
  await Promise.all(whole.map(over));
  expect(lossesOf(stays)).toEqual(lossesOf(whole[0]!));
  expect(Object.keys(lossesOf(stays)).length).toBe(STEPS);
});
