// The page as a person and as a program meets it, in real Chromium on the references: virtual devices, rooms, buttons,
// files, and what it says when things go wrong.

import { readFile, writeFile, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PageDriver, pixelsNear, tinyJob } from './page-driver.ts';
import { alsoTest } from '../support/sample.ts';

const ACCENT = [0x25, 0x63, 0xeb] as const;
const KEY = 'A'.repeat(22);
const room = (name: string, key = KEY): string => `#room=${name}&key=${key}&broker=none&world=2&auto=1&backend=cpu`;

let driver: PageDriver;
let folder: string;
beforeAll(async () => {
  driver = await PageDriver.start();
  folder = await mkdtemp(join(tmpdir(), 'tabmesh-page-'));
});
afterAll(() => driver.close());

describe('virtual devices', () => {
  it('train from one click to the end, and the loss curve is drawn', async () => {
    const tab = await (await driver.profile()).open(`#backend=cpu&plan=${tinyJob({ steps: 8, evalEvery: 4 })}`);
    const chart = tab.page.locator('line-chart.loss');
    const before = await pixelsNear(tab.page, await chart.screenshot(), ACCENT);
    await tab.page.getByRole('button', { name: 'Train now' }).click();
    await Promise.all([tab.done(0), tab.done(1)]);
    expect(tab.losses(0)).toHaveLength(8);
    expect(tab.losses(1)).toEqual(tab.losses(0));
    await expect.poll(() => chart.getAttribute('points')).toBe('8');
    const after = await pixelsNear(tab.page, await chart.screenshot(), ACCENT);
    expect(after - before, 'pixels in the colour of the curve').toBeGreaterThan(300);
    expect(
      await pixelsNear(tab.page, await tab.page.locator('step-timeline canvas').screenshot(), ACCENT),
      'pixels of compute bars',
    ).toBeGreaterThan(300);
    const cards = tab.page.locator('mesh-map li');
    expect(await cards.count()).toBe(2);
    expect(await cards.nth(1).innerText()).toMatch(/PP\(1\)[\s\S]*f64 references on the CPU[\s\S]*message-port/);
    await tab.page.setViewportSize({ width: 400, height: 800 });
    expect(
      await tab.page.evaluate(() => document.documentElement.scrollWidth),
      'width of the page on a phone',
    ).toBeLessThanOrEqual(400);
  });

  it('pause, go on, save, stop, and resume from the saved file', async () => {
    const profile = await driver.profile();
    const tab = await profile.open(`#backend=cpu&plan=${tinyJob({ steps: 5000 })}`);
    const { page } = tab;
    const button = (name: string) => page.getByRole('button', { name, exact: true });
    await button('Train now').click();
    await tab.step(1);
    await button('Pause').click();
    await expect.poll(async () => (await tab.state()).phase).toBe('paused');
    // A rank inside a step finishes it, then nothing comes; that nothing comes can only be watched for a while.
    const steps = () => tab.losses(0).length;
    const grownWithin = async (ms: number): Promise<number> => {
      const before = steps();
      await page.waitForTimeout(ms);
      return steps() - before;
    };
    await expect.poll(() => grownWithin(1000)).toBe(0);
    expect(await grownWithin(1500)).toBe(0);
    const saved = page.waitForEvent('download');
    const paused = steps();
    await button('Resume').click();
    await expect.poll(steps).toBeGreaterThan(paused + 1);
    await button('Save').click();
    const file = join(folder, 'checkpoint.safetensors');
    await (await saved).saveAs(file);
    await button('Stop').click();
    await tab.done(0);
    expect((await tab.state()).status).toMatch(/^stopped after \d+ steps?$/);
    const { step } = (await tab.until('checkpoint', ({ event }) => event?.kind === 'checkpoint')).event as unknown as {
      step: number;
    };
    const again = await (
      await driver.profile()
    ).open(`#backend=cpu&plan=${tinyJob({ steps: step + 3, layout: 'dp=2' })}`);
    await again.page.getByLabel('Load a file').setInputFiles(file);
    await again.page.getByRole('button', { name: `Resume from step ${step}` }).click();
    await again.done(0);
    // The browser keeps the last one too: another tab of the same profile offers it.
    const kept = await profile.open('#backend=cpu');
    await kept.page.getByRole('button', { name: /^Resume from step \d+$/ }).waitFor();
    expect((await again.state()).status).toBe(`trained 3 steps, ${step + 3} in all`);
    // It goes on where it ended, on another layout, with the losses that the first run saw.
    expect(again.reports.find(({ event }) => event?.kind === 'step')!.event!.metrics!.step).toBe(step);
    expect(again.losses(0)).toHaveLength(3);
    for (const [i, loss] of again.losses(0).entries())
      if (i + step < tab.losses(0).length) expect(loss).toBeCloseTo(tab.losses(0)[i + step]!, 4);
  });

  it('train on a text from a file, and refuse what is none', async () => {
    const tab = await (await driver.profile()).open('#backend=cpu');
    const binary = join(folder, 'photo.bin');
    await writeFile(binary, new Uint8Array([0xff, 0xd8, 0xff, 0xe0, 0x80]));
    await tab.page.getByLabel('Load a file').setInputFiles(binary);
    await tab.page.getByText("'photo.bin' is no text: it looks like a JPEG image").waitFor();
    const text = join(folder, 'song.txt');
    await writeFile(text, 'row row row your boat gently down the stream\n'.repeat(80));
    await tab.page.getByLabel('Load a file').setInputFiles(text);
    await tab.page.getByText('gpt2-nano, song.txt, dp=2,pp=2').waitFor();
    await tab.page.locator('summary').click();
    for (const [name, value] of [
      ['layout', 'dp=1'],
      ['microbatches', '1'],
      ['batch', '2'],
      ['context', '16'],
      ['steps', '2'],
    ]) {
      const field = tab.page.locator(`run-form input[name=${name}]`);
      await field.fill(value!);
      await field.press('Tab');
    }
    tab.reports.length = 0;
    await tab.page.getByRole('button', { name: 'Train now' }).click();
    await tab.done(0);
    const ready = tab.reports.find(({ event }) => event?.kind === 'ready')!.event!;
    expect(ready['vocab']).toBe(new Set(await readFile(text, 'utf8')).size);
    await tab.page.getByLabel('Samples').getByText('step 2').waitFor();
  });

  it('report what does not fit before anything runs', async () => {
    const tab = await (await driver.profile()).open(`#auto=1&backend=cpu&plan=${tinyJob({ layout: 'tp=3' })}`);
    await tab.page.getByRole('alert').getByText('tp(3) does not divide').waitFor();
    expect((await tab.state()).phase).toBe('failed');
    const typo = await (await driver.profile()).open('#backand=cpu');
    await typo.page.getByRole('alert').getByText('link: unknown part "backand"').waitFor();
  });
});

describe('rooms', () => {
  it('join two tabs over BroadcastChannel and train as virtual devices do', async () => {
    const profile = await driver.profile();
    const first = await profile.open(`${room('pair')}&plan=${tinyJob()}`);
    const second = await profile.open(room('pair'));
    const solo = await (await driver.profile()).open(`#auto=1&backend=cpu&devices=2&plan=${tinyJob()}`);
    // Which of two tabs that open at once is rank 0 is theirs to decide.
    const end = (tab: typeof first) => tab.until('end', ({ event }) => event?.kind === 'done');
    const [one, two] = await Promise.all([end(first), end(second), solo.done(0)]);
    expect(new Set([one.rank, two.rank])).toEqual(new Set([0, 1]));
    expect(solo.losses(0)).toHaveLength(5);
    expect(first.losses(one.rank!)).toEqual(solo.losses(0));
    expect(second.losses(two.rank!)).toEqual(solo.losses(0));
    const links = first.reports.find(({ event }) => event?.kind === 'links')!.event as unknown as {
      links: { kind: string }[];
    };
    // Tabs of one browser take its ports without being asked.
    expect(links.links[0]!.kind).toBe('same browser');
    expect(first.reports.filter(({ type }) => type === 'session').map(({ event }) => event!.type)).toEqual(
      expect.arrayContaining(['roster', 'status', 'forming', 'started']),
    );
  });

  alsoTest('train alike where the browser cannot transfer data channels: the page relays them', async () => {
    const profile = await driver.profile();
    const refuseChannels = (): void => {
      const post = MessagePort.prototype.postMessage as (message: unknown, transfer?: unknown) => void;
      MessagePort.prototype.postMessage = function (this: MessagePort, message: unknown, transfer?: unknown) {
        if (message instanceof RTCDataChannel)
          throw new DOMException('RTCDataChannel is not transferable', 'DataCloneError');
        post.call(this, message, transfer);
      };
    };
    const first = await profile.open(`${room('relay')}&lane=webrtc&plan=${tinyJob({ steps: 3 })}`);
    const second = await profile.open(`${room('relay')}&lane=webrtc`, refuseChannels);
    await first.until('end', ({ event }) => event?.kind === 'done');
    await second.until('end', ({ event }) => event?.kind === 'done');
    const kind = (tab: typeof first) =>
      (tab.reports.find(({ event }) => event?.kind === 'links')!.event as unknown as { links: { kind: string }[] })
        .links[0]!.kind;
    expect([kind(first), kind(second)]).toEqual(['webrtc worker', 'webrtc relay']);
    const losses = (tab: typeof first) =>
      tab.reports.flatMap(({ event }) => (event?.metrics ? [event.metrics.loss] : []));
    expect(losses(first)).toHaveLength(3);
    expect(losses(second)).toEqual(losses(first));
  });

  alsoTest('tell the tab that stays who left', async () => {
    const profile = await driver.profile();
    const first = await profile.open(room('leaver'));
    await first.until('roster', ({ event }) => event?.type === 'roster');
    // The one with the job comes last: the proposal must reach the coordinator, who is the older tab.
    const second = await profile.open(`${room('leaver')}&plan=${tinyJob({ steps: 5000 })}`);
    await Promise.all([first.step(1), second.step(1)]);
    await second.page.close({ runBeforeUnload: false });
    await first.page
      .getByRole('alert')
      .getByText(/rank 1 (left|closed).*train again when enough tabs are in the room/)
      .waitFor();
    expect((await first.state()).phase).toBe('failed');
  });

  alsoTest('say that somebody has a different key, to both', async () => {
    const profile = await driver.profile();
    const first = await profile.open(room('locked'));
    await first.until('roster', ({ event }) => event?.type === 'roster');
    const stranger = await profile.open(room('locked', 'B'.repeat(22)));
    for (const { page } of [first, stranger])
      await page.getByText('somebody in this room has a different key and is not heard').waitFor();
    expect((await first.state()).problems).toEqual([]);
  });

  it('ask before they compute, and take texts of one tab', async () => {
    const profile = await driver.profile();
    const tab = await profile.open(`#room=asked&key=${KEY}&broker=none&backend=cpu`);
    await tab.page.getByText('You were invited to train with other tabs').waitFor();
    // The page alone speaks, of itself: no room, no rank.
    expect(new Set(tab.reports.map(({ type }) => type))).toEqual(new Set(['page']));
    await tab.page.getByRole('button', { name: 'Join this room' }).click();
    await tab.page.getByRole('list', { name: 'Tabs in this room' }).getByText('(this tab)').waitFor();
    expect(await tab.page.getByLabel('QR code of the link of this room').count()).toBe(1);
    const text = join(folder, 'own.txt');
    await writeFile(text, 'the other tabs get this when they train\n'.repeat(200));
    await tab.page.getByLabel('Load a file').setInputFiles(text);
    await tab.page.getByText(', own.txt, ').waitFor();
    expect((await tab.state()).problems).toEqual([]);
    const opened = profile.context.waitForEvent('page');
    await tab.page.getByRole('button', { name: 'Add a tab' }).click();
    await (await opened).getByRole('list', { name: 'Tabs in this room' }).getByText('(this tab)').waitFor();
    await expect.poll(() => tab.page.getByRole('list', { name: 'Tabs in this room' }).locator('li').count()).toBe(2);
  });
});

describe('a browser without an adapter', () => {
  it('hears what to do', async () => {
    const without = await PageDriver.start({ gpu: false });
    try {
      // Without the setting it would compute on WebAssembly.
      const tab = await (await without.profile()).open('#backend=webgpu');
      await tab.page.getByRole('button', { name: 'Train now' }).click();
      const problem = tab.page.getByRole('alert');
      await problem.waitFor();
      expect(await problem.innerText()).toMatch(/WebGPU found no adapter; update the graphics driver/);
      expect((await tab.state()).phase).toBe('failed');
    } finally {
      await without.close();
    }
  });
});
