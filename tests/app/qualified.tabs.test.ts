// Virtual devices of a real page begin at once on a software adapter, check and tune it between their steps, and a
// second visit of the same profile finds everything in IndexedDB. A stop while kernels compile, and while they are
// measured, is heard at once.

import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Certificate, Decision } from '../../src/device/tune/certificate.ts';
import { scaledLimit } from '../support/patience.ts';
import { sample } from '../support/sample.ts';
import { PageDriver, tinyJob } from './page-driver.ts';
import type { Tab } from './page-driver.ts';

let driver: PageDriver;
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterAll(() => driver.close());

const RANKS = [0, 1];
const STOP_MS = 2000;
const job = (more: Readonly<Record<string, unknown>> = {}): string =>
  `#backend=webgpu&plan=${tinyJob({ layout: 'dp=2', steps: 5000, microbatches: 1, tune: 1, ...more })}`;

const click = (tab: Tab, name: string): Promise<void> => tab.page.getByRole('button', { name, exact: true }).click();

const nameOf = ({ kernel, shapeClass }: Decision): string => `${kernel} ${shapeClass}`;

/** Trains until both ranks have told what they found, and stops. */
async function certificates(tab: Tab): Promise<readonly Certificate[]> {
  await click(tab, 'Train now');
  const both = await Promise.all(
    RANKS.map((rank) =>
      tab.until(
        `certificate of rank ${rank}`,
        (report) => report.rank === rank && report.event?.kind === 'certificate',
      ),
    ),
  );
  await click(tab, 'Stop');
  await Promise.all(RANKS.map((rank) => tab.done(rank)));
  return both.map(({ event }) => event!['certificate'] as Certificate);
}

it('two devices of one tab begin at once, qualify between steps, and a second visit remembers', async () => {
  const profile = await driver.profile();
  const first = await profile.open(job());
  const both = await certificates(first);
  for (const { checks, refused, notes, decisions } of both) {
    expect(checks.length).toBeGreaterThan(10);
    expect(decisions.length).toBeGreaterThan(0);
    expect([refused, notes]).toEqual([[], []]);
  }
  // They share one adapter, so they know the same.
  expect(both[0]).toEqual(both[1]);
  const kinds = first.reports.filter(({ rank }) => rank === 0).map(({ event }) => event?.kind);
  expect(kinds.indexOf('certificate')).toBeGreaterThan(kinds.indexOf('step'));
  // Two ranks with equal plans compile each pipeline once, and the status counts them.
  const counted = first.reports.flatMap(({ event }) =>
    event?.kind === 'status' ? (/^compiling kernels (\d+) of (\d+)$/.exec(String(event['text'])) ?? []) : [],
  );
  expect(counted.length).toBeGreaterThan(0);
  expect(await first.page.locator('mesh-map li').first().innerText()).toMatch(
    /qualified \d+ kernel variants \(worst error 0\.\d+ of the tolerance\)/,
  );
  await first.page.close();
  const complete = new Set(both[0]!.decisions.filter((decision) => decision.complete).map(nameOf));
  for (const { checks, decisions } of await certificates(await profile.open(job()))) {
    expect(checks.filter(({ how }) => how === 'remembered').length).toBeGreaterThan(10);
    // What the first visit left open may be measured to its end now.
    expect(decisions.filter((decision) => complete.has(nameOf(decision)) && !decision.remembered)).toEqual([]);
    // Nothing that the first visit found is lost.
    const tried = new Map(decisions.map((decision) => [nameOf(decision), decision.candidates.length]));
    for (const decision of both[0]!.decisions)
      expect(tried.get(nameOf(decision))).toBeGreaterThanOrEqual(decision.candidates.length);
  }
});

it.each(
  sample(
    [
      [
        'while kernels compile',
        ({ rank, event }: Tab['reports'][number]) =>
          rank === 0 && event?.kind === 'status' && /^compiling kernels [1-9]/.test(String(event['text'])),
      ],
      ['while they are measured', ({ rank, event }: Tab['reports'][number]) => rank === 1 && event?.kind === 'step'],
    ] as const,
    1,
  ),
)('a stop %s ends all ranks within 2 s', async (_, when) => {
  const tab = await (
    await driver.profile()
  ).open(job({ model: 'gpt2-nano', context: 64, layout: 'dp=2,pp=2', batch: 8, microbatches: 2, tune: 20 }));
  const limitMs = scaledLimit(STOP_MS);
  await click(tab, 'Train now');
  await tab.until('the moment', when);
  const startMs = performance.now();
  await click(tab, 'Stop');
  await expect.poll(async () => (await tab.state()).phase).not.toMatch(/^(starting|training|stopping)$/);
  expect(performance.now() - startMs).toBeLessThan(scaledLimit(STOP_MS, limitMs));
  const { phase, problems } = await tab.state();
  expect([phase, problems]).toEqual([expect.stringMatching(/^(idle|done)$/), []]);
});
