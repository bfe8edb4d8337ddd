// Firefox as a member of a room: with Chromium and with itself, over WebRTC and over the ports of one browser; what it
// learns is what one device learns. Its peer goes away, and it names that peer, once. Its pages compute with the
// references (`backend=cpu`), because Firefox has no WebGPU on Linux unless it is asked for.

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PageDriver, tinyJob } from '../app/page-driver.ts';
import type { Report, TabReports } from '../app/page-driver.ts';
import { Firefox } from '../support/firefox.ts';
import { sample } from '../support/sample.ts';

let driver: PageDriver;
let firefox: Firefox;
beforeAll(async () => {
  driver = await PageDriver.start();
  firefox = await Firefox.launch();
});
afterAll(async () => {
  await firefox?.close();
  await driver?.close();
});

const KEY = 'A'.repeat(22);
const roomOf = (name: string, more: string, backend = 'cpu'): string =>
  `#room=${name}&key=${KEY}&backend=${backend}&auto=1${more}`;
const freshName = (): string => `fox-${randomBytes(4).toString('hex')}`;
const wish = (config: Readonly<Record<string, unknown>>): string =>
  `&world=2&plan=${tinyJob({ layout: 'dp=2', microbatches: 1, ...config })}`;

type Kind = 'Chromium' | 'Firefox';
type Opened =
  Awaited<ReturnType<typeof firefox.open>> | Awaited<ReturnType<Awaited<ReturnType<PageDriver['profile']>>['open']>>;

/** Two tabs in a room; the first one's plan. */
async function pair(
  kinds: readonly [Kind, Kind],
  config: Readonly<Record<string, unknown>>,
  more = '',
  { backend = 'cpu', fox = firefox } = {},
): Promise<Opened[]> {
  const name = freshName();
  const profile = await driver.profile();
  const tabs: Opened[] = [];
  for (const [i, kind] of kinds.entries()) {
    const fragment = roomOf(name, `${more}${i === 0 ? wish(config) : ''}`, backend);
    const tab = await (kind === 'Firefox' ? fox.open(driver.address + fragment) : profile.open(fragment));
    // The one who was there first is rank 0.
    await tab.until('roster', ({ event }) => event?.type === 'roster');
    tabs.push(tab);
  }
  return tabs;
}

const end = (tab: TabReports): Promise<Report> => tab.until('the end', ({ event }) => event?.kind === 'done');
const linksOf = (tab: TabReports): { readonly kind: string; readonly route: string }[] =>
  (
    tab.reports.filter(({ event }) => event?.kind === 'links').at(-1)!.event as unknown as {
      links: { kind: string; route: string }[];
    }
  ).links;

/** The greatest difference relative to the losses of one device. */
const worst = (got: readonly number[], want: readonly number[]): number =>
  Math.max(...want.map((loss, i) => Math.abs((got[i] ?? Infinity) - loss) / loss));

describe('a room with Firefox learns what one device learns', () => {
  const config = { steps: 8 };
  let alone: number[];
  beforeAll(async () => {
    const tab = await (
      await driver.profile()
    ).open(`#auto=1&backend=cpu&plan=${tinyJob({ layout: 'dp=1', microbatches: 1, ...config })}`);
    await end(tab);
    alone = tab.losses(0);
    expect(alone).toHaveLength(config.steps);
  });

  it.each(
    sample<readonly [Kind, Kind, string, string]>(
      [
        ['Chromium', 'Firefox', '', 'direct'],
        ['Firefox', 'Firefox', '', 'same browser'],
        ['Firefox', 'Chromium', '', 'direct'],
        ['Firefox', 'Firefox', '&lane=webrtc', 'direct'],
      ],
      2,
    ),
  )('%s as rank 0 and %s%s', async (zero, one, more, route) => {
    const tabs = await pair([zero, one], config, more);
    const ends = await Promise.all(tabs.map(end));
    expect(ends.map(({ rank }) => rank)).toEqual([0, 1]);
    for (const [rank, tab] of tabs.entries()) {
      expect(worst(tab.losses(rank), alone)).toBeLessThan(1e-6);
      expect(linksOf(tab).map((link) => link.route)).toEqual([route]);
    }
    // The comparison sees a single wrong digit.
    expect(
      worst(
        tabs[0]!.losses(0).map((loss, i) => (i === 7 ? loss * (1 + 1e-5) : loss)),
        alone,
      ),
    ).toBeGreaterThan(1e-6);
  });

  it('with both in WebAssembly, though only one fuses multiply-adds', async () => {
    const fox = await Firefox.launch({ 'javascript.options.wasm_relaxed_simd': false });
    try {
      const tabs = await pair(['Chromium', 'Firefox'], config, '', { backend: 'wasm', fox });
      await Promise.all(tabs.map(end));
      // What each has told the room that it computes on.
      const { members } = tabs[0]!.reports.filter(({ event }) => event?.type === 'roster').at(-1)!.event as unknown as {
        members: readonly { readonly name: string; readonly adapter: string }[];
      };
      const adapterOf = (browser: string): string => members.find(({ name }) => name.startsWith(browser))!.adapter;
      expect(adapterOf('Chrome')).toMatch(/^WebAssembly SIMD with fused multiply-add, \d+ threads?/);
      expect(adapterOf('Firefox')).toMatch(/^WebAssembly SIMD, \d+ threads?/);
      for (const [rank, tab] of tabs.entries()) expect(worst(tab.losses(rank), alone)).toBeLessThan(1e-4);
    } finally {
      await fox.close();
    }
  });
});

describe('a peer of Firefox that goes away is named by it, once', () => {
  const survivorsWord = async (survivor: Opened): Promise<string[]> => {
    const failed = await survivor.until('a failure', ({ event }) => event?.kind === 'failed');
    expect(failed.event).toMatchObject({ culprit: 1 });
    const since = survivor.reports.indexOf(failed);
    await expect.poll(async () => (await survivor.state()).phase).toBe('failed');
    // The doctor looks at every connection when a run fails, unless the room has already let go of them: what it finds
    // at a closed one must not become a second problem.
    const after = (): (string | undefined)[] => survivor.reports.slice(since).map(({ event }) => event?.type);
    await expect.poll(() => after().some((type) => type === 'connections' || type === 'roster')).toBe(true);
    return (await survivor.state()).problems;
  };

  it.each(
    sample<readonly [Kind, Kind]>(
      [
        ['Firefox', 'Chromium'],
        ['Firefox', 'Firefox'],
        ['Chromium', 'Firefox'],
      ],
      1,
    ),
  )('%s stays, %s is closed', async (stays, goes) => {
    const [survivor, victim] = await pair([stays, goes], { steps: 100_000 }, '&lane=webrtc');
    await Promise.all([survivor!.step(2), victim!.step(2)]);
    await victim!.page.close();
    const problems = await survivorsWord(survivor!);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(
      new RegExp(`^rank 1 (closed|left)\\b.*\\(${goes === 'Firefox' ? 'Firefox' : 'Chrome'} on Linux`),
    );
  });
});

it('a Firefox without WebGPU says what to do in Firefox', async () => {
  const tab = await firefox.open(`${driver.address}#backend=webgpu`);
  await tab.press('tabmesh-app', 'Train now');
  await expect
    .poll(async () => (await tab.state()).problems.join())
    .toMatch(/^device: this Firefox has no WebGPU; use about:config to set dom\.webgpu\.enabled.*#backend=cpu/);
  expect(await tab.text()).not.toMatch(/chrome:|Firefox 141/i);
});

it('the collectives are measured between Chromium and Firefox, which meet by the broker', async () => {
  interface Bench {
    readonly joinUrl: string;
    readonly state: {
      readonly phase: string;
      readonly status: string;
      readonly problems: string[];
      readonly rows: { readonly collective: string; readonly wrong: number }[];
    };
  }
  const { page } = await (
    await driver.profile()
  ).open('collectives.html#tabs=2&sizes=4KiB&only=all-reduce,all-to-all,barrier&rounds=1&meet=broker&run=1');
  const state = () =>
    page.evaluate(() => (window as unknown as { tabmeshCollectives: Bench }).tabmeshCollectives.state);
  await expect.poll(async () => (await state()).phase).toBe('waiting');
  const guest = await firefox.open(
    await page.evaluate(() => (window as unknown as { tabmeshCollectives: Bench }).tabmeshCollectives.joinUrl),
  );
  await guest.press('collectives-app', 'Join');
  await expect.poll(async () => (await state()).phase).toBe('ready');
  const { status, problems, rows } = await state();
  expect(problems).toEqual([]);
  expect(status).toBe('done');
  expect(rows.map(({ collective, wrong }) => [collective, wrong])).toEqual([
    ['all-reduce', 0],
    ['all-to-all', 0],
    ['barrier', 0],
  ]);
});
