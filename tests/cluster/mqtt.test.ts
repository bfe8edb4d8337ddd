// The MQTT rendezvous against the embedded broker, both in this process, over real sockets.

import { Aedes } from 'aedes';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { realWorld } from '../../src/base/world.ts';
import { mqttCarrier } from '../../src/cluster/mqtt.ts';
import type { MqttOptions } from '../../src/cluster/mqtt.ts';
import type { Presence } from '../../src/cluster/presence.ts';
import { joinRendezvous } from '../../src/cluster/rendezvous.ts';
import type { Rendezvous, RendezvousOptions } from '../../src/cluster/rendezvous.ts';
import { newHost, stopHosts } from './mqtt-host.ts';
import type { Host } from './mqtt-host.ts';
import { Events, introduction, OTHER_KEY, ROOM_KEY } from './support.ts';

type Seen =
  | { readonly peers: readonly Presence[] }
  | { readonly from: string; readonly text: string }
  | { readonly status: string }
  | { readonly notice: string }
  | { readonly fatal: Error };

const open: Rendezvous[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((rendezvous) => rendezvous.close()));
  await stopHosts();
});

async function join(
  host: Pick<Host, 'url'>,
  n: number,
  options: Partial<RendezvousOptions> = {},
  mqtt: Partial<MqttOptions> = {},
): Promise<{ rendezvous: Rendezvous; events: Events<Seen> }> {
  const events = new Events<Seen>();
  const carrier = mqttCarrier({ world: realWorld, url: host.url, graceMs: 100, reconnectMs: 50, ...mqtt });
  const rendezvous = await joinRendezvous(
    { world: realWorld, carrier, room: 'test', key: ROOM_KEY, me: introduction(n), settleMs: 200, ...options },
    {
      onPeers: (peers) => events.push({ peers }),
      onSignal: (from, payload) => events.push({ from, text: new TextDecoder().decode(payload) }),
      onStatus: (status) => events.push({ status }),
      onNotice: (notice) => events.push({ notice }),
      onFatal: (fatal) => events.push({ fatal }),
    },
  );
  open.push(rendezvous);
  return { rendezvous, events };
}

type Member = Awaited<ReturnType<typeof join>>;
const namesOf = (event: Seen): string | undefined =>
  'peers' in event ? event.peers.map(({ name }) => name).join(', ') : undefined;
const sees = (member: Member, names: string): Promise<Seen> => member.events.find((event) => namesOf(event) === names);
/** The roster counts from here on. */
const forget = (member: Member): void => {
  member.events.all.length = 0;
};
const status = (member: Member, pattern: RegExp): Promise<Seen> =>
  member.events.find((event) => 'status' in event && pattern.test(event.status));

describe('presence', () => {
  test('a newcomer has the roster in one round trip; a clean leave is seen at once', async () => {
    const host = await newHost();
    const a = await join(host, 0);
    const b = await join(host, 1);
    for (const member of [a, b]) await sees(member, 'Tab 0, Tab 1');
    b.rendezvous.signal(a.rendezvous.me.address, new TextEncoder().encode('hi'));
    expect(await a.events.find((event) => 'text' in event)).toEqual({ from: b.rendezvous.me.address, text: 'hi' });
    await b.rendezvous.close();
    await sees(a, 'Tab 0');
  });

  test('a killed socket speaks its Last-Will: gone after the grace', async () => {
    const host = await newHost();
    const a = await join(host, 0);
    const before = new Set(host.sockets.keys());
    const b = await join(host, 1, {}, { reconnectMs: 0 });
    await sees(a, 'Tab 0, Tab 1');
    forget(a);
    for (const [port, socket] of host.sockets) if (!before.has(port)) socket.destroy();
    await sees(a, 'Tab 0');
    await status(b, /the broker is gone/);
    // The broker keeps no trace of it for the next newcomer.
    const c = await join(host, 2);
    await sees(c, 'Tab 0, Tab 2');
    expect(c.events.all.some((event) => namesOf(event)?.includes('Tab 1'))).toBe(false);
  });

  test('a member that comes back within the grace never left the roster', async () => {
    const host = await newHost();
    const a = await join(host, 0, {}, { graceMs: 5000 });
    const before = new Set(host.sockets.keys());
    const b = await join(host, 1, {}, { reconnectMs: 20 });
    await sees(a, 'Tab 0, Tab 1');
    forget(a);
    for (const [port, socket] of host.sockets) if (!before.has(port)) socket.destroy();
    await status(b, /connected again/);
    b.rendezvous.signal(a.rendezvous.me.address, new TextEncoder().encode('back'));
    await a.events.find((event) => 'text' in event && event.text === 'back');
    expect(a.events.all.some((event) => namesOf(event) === 'Tab 0')).toBe(false);
  });

  test('the hello makes a roster on a broker that retains nothing', async () => {
    const forgetful = await Aedes.createBroker({
      authorizePublish: (_, packet, done) => {
        packet.retain = false;
        done(null);
      },
    });
    const server = createServer();
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => forgetful.handle(createWebSocketStream(socket)));
    await new Promise<void>((listening) => {
      server.listen(0, '127.0.0.1', listening);
    });
    const host = { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/` };
    const [a, b] = [await join(host, 0), await join(host, 1)];
    for (const member of [a, b]) await sees(member, 'Tab 0, Tab 1');
    await b.rendezvous.close();
    await sees(a, 'Tab 0');
    await a.rendezvous.close();
    sockets.close();
    await new Promise<void>((done) => {
      forgetful.close(done);
    });
    await new Promise<void>((done) => {
      server.close(() => done());
    });
  });

  test('an address in capitals is one too, and its password is shown to nobody', async () => {
    const host = await newHost();
    const a = await join({ url: host.url.replace('ws:', 'WS:') }, 0);
    await a.rendezvous.close();
    const handlers = { onPresence: () => undefined, onSignal: () => undefined } as never;
    for (const url of ['http://me:secret@broker.example/mqtt', 'ws://me:secret@127.0.0.1:9/mqtt']) {
      const carrier = mqttCarrier({ world: realWorld, url, connectTimeoutMs: 50 });
      expect(carrier.name).toBe(`broker ${url.replace('me:secret@', '')}`);
      const error: unknown = await carrier.open('room', 'ab'.repeat(8), handlers).catch((reason: unknown) => reason);
      expect(String(error)).toContain(url.replace('me:secret@', ''));
      expect(String(error)).not.toContain('secret');
    }
  });

  test('an address that is none is told as such; one of IPv6 is one', async () => {
    const handlers = { onPresence: () => undefined, onSignal: () => undefined } as never;
    const open = (url: string): Promise<string> =>
      mqttCarrier({ world: realWorld, url, connectTimeoutMs: 300 })
        .open('room', 'ab'.repeat(8), handlers)
        .then(
          () => 'opened',
          (reason: unknown) => String(reason),
        );
    for (const url of ['ws://', 'ws://[bad/mqtt', 'wss://b.example:99999/', 'ws://two words/', 'broker.example'])
      expect(await open(url)).toBe(`ConfigError: broker: expected an address ws://... or wss://..., got '${url}'`);
    expect(await open('ws://[::1]:9/mqtt')).toMatch(
      /^RoomError: room: expected an MQTT broker at ws:\/\/\[::1\]:9\/mqtt, none answered .*\((?!.*Invalid URL)/,
    );
  });

  test('who has another key is told so', async () => {
    const host = await newHost();
    const a = await join(host, 0);
    const stranger = await join(host, 1, { key: OTHER_KEY });
    for (const member of [a, stranger])
      await member.events.find((event) => 'notice' in event && /different key/.test(event.notice));
    for (const member of [a, stranger]) expect(member.events.all.some((event) => 'fatal' in event)).toBe(false);
  });

  test('rooms do not hear each other', async () => {
    const host = await newHost();
    const a = await join(host, 0);
    const b = await join(host, 1, { room: 'other', key: OTHER_KEY });
    await sees(a, 'Tab 0');
    await sees(b, 'Tab 1');
  });
});

describe('the broker', () => {
  test('that is not there is one clear error', async () => {
    const host = await newHost();
    await host.stop();
    await expect(join(host, 0, {}, { connectTimeoutMs: 300 })).rejects.toThrow(
      new RegExp(
        `^room: expected an MQTT broker at ws://127\\.0\\.0\\.1:${host.port}/mqtt, none answered within 300 ms \\(.*ECONNREFUSED.*\\); start one with \`tabmesh serve\`, or use tabs of one browser$`,
      ),
    );
  });

  test('that goes away is told; when it is back, with nothing in its store, the room is whole again', async () => {
    const host = await newHost();
    const [a, b] = [await join(host, 0), await join(host, 1)];
    for (const member of [a, b]) await sees(member, 'Tab 0, Tab 1');
    await host.stop();
    for (const member of [a, b])
      await status(member, /^broker ws:.*: the broker is gone.*; trying again, open connections go on$/);
    for (const member of [a, b]) forget(member);
    await host.start();
    for (const member of [a, b]) await status(member, /connected again/);
    const c = await join(host, 2);
    await sees(c, 'Tab 0, Tab 1, Tab 2');
    for (const member of [a, b]) await sees(member, 'Tab 0, Tab 1, Tab 2');
  });
});
