// Who is who, with real tabs: a tab that is duplicated, a browser that keeps nothing, strangers at the broker without
// the room's key and with it.

import mqtt from 'mqtt';
import type { MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PROTOCOL_VERSION } from '../../src/cluster/presence.ts';
import { deriveSeal } from '../../src/cluster/seal.ts';
import { realWorld } from '../../src/base/world.ts';
import { alsoTest } from '../support/sample.ts';
import { PageDriver, tinyJob } from './page-driver.ts';
import type { Tab } from './page-driver.ts';

const KEY = 'A'.repeat(22);
const room = (name: string, more = '&auto=1', broker = '&broker=none'): string =>
  `#room=${name}&key=${KEY}&backend=cpu${broker}${more}`;

let driver: PageDriver;
const clients: MqttClient[] = [];
beforeAll(async () => {
  driver = await PageDriver.start();
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.endAsync(true)));
});
afterAll(() => driver.close());

const members = async (tab: Tab): Promise<number> =>
  ((await tab.state()) as unknown as { members?: unknown[] }).members?.length ?? 0;
const notices = async (tab: Tab): Promise<string[]> =>
  ((await tab.state()) as unknown as { notices: string[] }).notices;

async function stranger(address: string): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`${driver.address.replace(/^http/, 'ws')}mqtt`, {
    clientId: `tabmesh${address}`,
    protocolVersion: 4,
    reconnectPeriod: 0,
  });
  clients.push(client);
  return client;
}

describe('a duplicated tab', () => {
  it('is a new member; the run of the first goes on', async () => {
    const profile = await driver.profile();
    const first = await profile.open(room('copied'));
    await first.until('roster', ({ event }) => event?.type === 'roster');
    const second = await profile.open(`${room('copied')}&plan=${tinyJob({ steps: 100_000, layout: 'dp=2' })}`);
    await Promise.all([first.step(1), second.step(1)]);
    // Opened by the page itself, the copy carries its session storage.
    await second.page.evaluate(() => {
      window.open(location.href);
    });
    await expect.poll(() => members(first)).toBe(3);
    const names = ((await first.state()) as unknown as { members: { name: string }[] }).members.map(({ name }) => name);
    expect(new Set(names).size, names.join()).toBe(3);
    const { step } = (await first.state()).run!;
    await expect.poll(async () => (await first.state()).run!.step).toBeGreaterThan(step + 3);
    for (const tab of [first, second]) expect(await tab.state()).toMatchObject({ phase: 'training', problems: [] });
  });

  it('that is reloaded instead is the same member again', async () => {
    const profile = await driver.profile();
    const [first, second] = [await profile.open(room('reloaded')), await profile.open(room('reloaded'))];
    await expect.poll(() => members(first)).toBe(2);
    // Sorted, because who comes back is the youngest, and two that came at once have no order.
    const names = async (): Promise<string[]> =>
      ((await first.state()) as unknown as { members: { name: string }[] }).members.map(({ name }) => name).sort();
    const before = await names();
    await second.page.reload();
    await expect
      .poll(async () => ((await second.state()) as unknown as { members?: { name: string }[] }).members?.length ?? 0)
      .toBe(2);
    await expect.poll(names).toEqual(before);
  });
});

it('a browser that keeps nothing and refuses workers and channels joins all the same, and says what is missing', async () => {
  const profile = await driver.profile();
  const bare = await profile.open(room('bare', '&auto=1', ''), () => {
    const refuse = (): never => {
      throw new DOMException('refused', 'SecurityError');
    };
    Object.defineProperty(window, 'sessionStorage', { get: refuse });
    Object.defineProperty(window, 'indexedDB', { get: refuse });
    Object.assign(window, { SharedWorker: refuse, BroadcastChannel: refuse });
    Object.defineProperty(navigator, 'locks', { get: () => undefined });
  });
  const other = await profile.open(`${room('bare', '&auto=1', '')}&plan=${tinyJob({ layout: 'dp=2' })}`);
  await Promise.all([
    bare.until('end', ({ event }) => event?.kind === 'done'),
    other.until('end', ({ event }) => event?.kind === 'done'),
  ]);
  expect(await notices(bare)).toEqual([
    'this browser keeps no session storage for this page: after a reload the room takes this tab for a new one',
  ]);
  expect(await notices(other)).toEqual([]);
});

describe('a stranger at the broker', () => {
  it('without the key says good-bye for others and answers with nonsense: the room trains, and each knows why', async () => {
    const evil = await stranger('ee'.repeat(8));
    const seen = new Set<string>();
    const say = (): void => {
      for (const address of seen) evil.publish('tabmesh/evicted/ctl', `bye?${address}?`, { qos: 0 });
    };
    evil.on('message', (topic, payload) => {
      const [, , kind, address] = topic.split('/');
      if (kind === 'p' && payload.length > 0 && address !== 'ee'.repeat(8)) seen.add(address!);
      else if (payload.toString('latin1').startsWith('hello'))
        evil.publish(`tabmesh/evicted/p/${'ee'.repeat(8)}`, Buffer.alloc(64, 7), { qos: 1 });
      else return;
      say();
    });
    await evil.subscribeAsync(['tabmesh/evicted/p/+', 'tabmesh/evicted/ctl']);
    const [one, two] = [await driver.profile(), await driver.profile()];
    const first = await one.open(`${room('evicted', '&auto=1', '')}&plan=${tinyJob({ layout: 'dp=2', steps: 20 })}`);
    const second = await two.open(room('evicted', '&auto=1', ''));
    await Promise.all([
      first.until('end', ({ event }) => event?.kind === 'done'),
      second.until('end', ({ event }) => event?.kind === 'done'),
    ]);
    expect(seen.size).toBeGreaterThan(1);
    for (const tab of [first, second]) {
      expect((await tab.state()).problems).toEqual([]);
      expect(await notices(tab)).toEqual([expect.stringMatching(/^somebody in this room has a different key/)]);
    }
  });

  alsoTest(
    'with the key repeats what was said, and speaks as a page of before: nobody comes back, and the version is told',
    async () => {
      const address = 'ab'.repeat(8);
      const evil = await stranger(address);
      const profile = await driver.profile();
      const first = await profile.open(room('replayed', '&auto=1', ''));
      const said: { readonly topic: string; readonly payload: Buffer }[] = [];
      evil.on('message', (topic, payload) => {
        if (payload.length > 0) said.push({ topic, payload });
      });
      await evil.subscribeAsync(['tabmesh/replayed/p/+', 'tabmesh/replayed/ctl']);
      const leaving = await profile.open(room('replayed', '&auto=1', ''));
      await expect.poll(() => members(first)).toBe(2);
      await leaving.page.close();
      await expect.poll(() => members(first)).toBe(1);
      // The broker lets nobody speak under another's address; a broker of strangers would: each recording as that
      // client said it.
      for (const { topic, payload } of said.slice()) {
        const from = /\/p\/([0-9a-f]{16})$/.exec(topic)?.[1];
        if (!from) {
          await evil.publishAsync(topic, payload);
          continue;
        }
        const ghost = await stranger(from);
        await ghost.publishAsync(topic, payload, { qos: 1 }).catch(() => undefined);
      }
      const seal = await deriveSeal(realWorld, 'replayed', KEY);
      const old = {
        id: 'zz',
        name: '\u001b]0;owned\u0007',
        adapter: '',
        software: false,
        role: 'observer',
        address,
        order: 9,
        protocolVersion: 2,
      };
      await evil.publishAsync(
        `tabmesh/replayed/p/${address}`,
        Buffer.from(await seal.seal(new TextEncoder().encode(JSON.stringify(old)), `replayed/presence/${address}/`)),
        { qos: 1, retain: true },
      );
      await expect
        .poll(() => notices(first))
        .toEqual([
          `somebody in this room (${address}) speaks protocol 2, this page speaks ${PROTOCOL_VERSION}, and they do not hear each other; reload both from the same address`,
        ]);
      const newcomer = await profile.open(room('replayed', '&auto=1', ''));
      await expect.poll(() => members(newcomer)).toBe(2);
      expect(await members(first)).toBe(2);
      expect(
        first.reports.filter(
          ({ event }) => event?.type === 'roster' && (event as unknown as { members: unknown[] }).members.length > 2,
        ),
      ).toEqual([]);
    },
  );
});
