// The embedded broker: what a client may say and hear, what it can make the broker keep, and that a client which is
// gone leaves nothing.

import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { connect as connectMqtt } from 'mqtt';
import { generate } from 'mqtt-packet';
import { WebSocket } from 'ws';
import { afterEach, describe, expect, test } from 'vitest';
import { closed, newHost, rawClient, stopHosts } from '../cluster/mqtt-host.ts';
import type { Host } from '../cluster/mqtt-host.ts';
import { PacketGauge } from '../../src/server/broker/packet-gauge.ts';
import { addressIn } from '../../src/server/broker/rules.ts';

afterEach(stopHosts);

const [A, B, C] = ['a', 'b', 'c'].map((letter) => letter.repeat(16)) as [string, string, string];
const hex = (n: number): string => randomBytes(n).toString('hex');

describe('speaking', () => {
  test('a client that sends more than 16 KiB, and one that sends too often, is closed', async () => {
    const host = await newHost({ publishesPerSecond: 1, publishBurst: 20 });
    const big = await rawClient(host, `tabmesh${A}`);
    const bigClosed = closed(big);
    big.publish(`tabmesh/test/p/${A}`, Buffer.alloc(16 * 1024 + 1), { qos: 1, retain: true });
    await bigClosed;
    const fits = await rawClient(host, `tabmesh${B}`);
    await fits.publishAsync(`tabmesh/test/p/${B}`, Buffer.alloc(16 * 1024), { qos: 1, retain: true });

    const chatty = await rawClient(host, `tabmesh${C}`);
    const chattyClosed = closed(chatty);
    let accepted = 0;
    for (let i = 0; i < 30; i++)
      chatty.publish('tabmesh/test/ctl', 'x', { qos: 1 }, (error) => {
        if (!error) accepted++;
      });
    await chattyClosed;
    expect(accepted).toBeLessThanOrEqual(21);
  });

  test.each([
    [`tabmesh/test/p/${A}`, { retain: true }],
    [`tabmesh/test/s/${A}/${A}`, {}],
    ['tabmesh/test/ctl', { retain: true }],
    [`tabmesh/test/s/${A}/${B}`, { retain: true }],
    ['elsewhere/x', {}],
    ['$SYS/x', {}],
    ['tabmesh/test/other', {}],
    ['tabmesh//ctl', {}],
    [`tabmesh/${'r'.repeat(65)}/ctl`, {}],
    [`tabmesh/test/p/${B}/x`, { retain: true }],
    ['tabmesh/test/ctl', { qos: 2 }],
  ] as const)('to %s %o ends the client', async (topic, options) => {
    const host = await newHost();
    const client = await rawClient(host, `tabmesh${B}`);
    const end = closed(client);
    client.publish(topic, 'x', { qos: 1, ...options });
    await end;
    expect(host.broker!.presences).toBe(0);
  });

  test('and hearing is for one room: the first that a client names', async () => {
    const host = await newHost();
    const curious = await rawClient(host, `tabmesh${A}`);
    for (const filter of [
      '#',
      '+',
      '$SYS/#',
      'tabmesh/#',
      'tabmesh/+/p/+',
      'tabmesh/+/ctl',
      'tabmesh/test/#',
      'tabmesh/test/+',
      'tabmesh/test/s/+/+',
      `tabmesh/test/s/${B}/+`,
      `tabmesh/test/p/${B}`,
    ]) {
      await expect(curious.subscribeAsync(filter), filter).rejects.toThrow();
    }
    const fresh = await rawClient(host, `tabmesh${B}`);
    for (const filter of ['tabmesh/test/p/+', `tabmesh/test/s/${B}/+`, 'tabmesh/test/ctl'])
      await fresh.subscribeAsync(filter, { qos: 1 });
    await expect(fresh.subscribeAsync('tabmesh/other/p/+')).rejects.toThrow();
    const end = closed(fresh);
    fresh.publish('tabmesh/other/ctl', 'x', { qos: 1 });
    await end;
  });

  test('a Will withdraws the own presence and nothing else', async () => {
    const host = await newHost();
    const wills = [
      { topic: `tabmesh/test/p/${B}`, payload: '', retain: true },
      { topic: `tabmesh/test/p/${A}`, payload: 'x', retain: true },
      { topic: `tabmesh/test/p/${A}`, payload: '', retain: false },
      { topic: `x/p/${A}`, payload: '', retain: true },
      { topic: 'tabmesh/test/ctl', payload: '', retain: true },
    ];
    for (const will of wills) {
      const client = connectMqtt(host.url, {
        clientId: `tabmesh${A}`,
        protocolVersion: 4,
        reconnectPeriod: 0,
        will: { ...will, payload: will.payload as never, qos: 1 },
      });
      client.on('error', () => {});
      expect(
        await new Promise((end) => {
          client.once('connect', () => end('connected'));
          client.once('close', () => end('closed'));
        }),
        JSON.stringify(will),
      ).toBe('closed');
    }
  });

  test('ids of today and of before are understood', () => {
    expect(
      [`tabmesh${A}`, `tabmesh-${A}`, A, `tabmesh${A}0`, `tabmesh--${A}`, `tabmesh${A.toUpperCase()}`].map(addressIn),
    ).toEqual([A, A, undefined, undefined, undefined, undefined]);
    expect(`tabmesh${A}`).toMatch(/^[0-9A-Za-z]{1,23}$/);
  });
});

describe('what is kept', () => {
  test('a presence is gone with its client, however that goes, Will or not', async () => {
    const host = await newHost();
    const watch = await rawClient(host, 'watch');
    const heard: string[] = [];
    watch.on('message', (topic, payload) => {
      heard.push(`${topic.slice(-1)}${payload.length}`);
    });
    await watch.subscribeAsync('tabmesh/test/p/+', { qos: 1 });
    for (const [id, leave] of [
      [A, 'end'],
      [B, 'kill'],
      [C, 'end'],
    ] as const) {
      const client = await rawClient(host, `tabmesh${id}`);
      await client.publishAsync(`tabmesh/test/p/${id}`, 'here', { qos: 1, retain: true });
      expect(host.broker!.presences).toBe(1);
      if (leave === 'end') await client.endAsync();
      else client.stream.destroy();
      await expect.poll(() => host.broker!.presences).toBe(0);
    }
    await expect.poll(() => heard).toEqual(['a4', 'a0', 'b4', 'b0', 'c4', 'c0']);
    const late = await rawClient(host, 'late');
    const stored: string[] = [];
    late.on('message', (topic) => {
      stored.push(topic);
    });
    await late.subscribeAsync('tabmesh/test/p/+', { qos: 1 });
    await late.publishAsync('tabmesh/test/ctl', 'x', { qos: 1 });
    expect(stored).toEqual([]);
  });

  test('a client that comes back before the broker missed it keeps its presence', async () => {
    const host = await newHost();
    const first = await rawClient(host, `tabmesh${A}`);
    await first.publishAsync(`tabmesh/test/p/${A}`, 'here', { qos: 1, retain: true });
    const over = closed(first);
    const second = await rawClient(host, `tabmesh${A}`);
    await second.publishAsync(`tabmesh/test/p/${A}`, 'again', { qos: 1, retain: true });
    await over;
    const late = await rawClient(host, 'late');
    const stored = new Promise((found) => {
      late.on('message', (_, payload) => found(payload.toString()));
    });
    await late.subscribeAsync('tabmesh/test/p/+', { qos: 1 });
    expect(await stored).toBe('again');
  });

  test('one presence a client, so many a room', async () => {
    const host = await newHost({ maxPresencesPerRoom: 3 });
    const clients = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const id = hex(8);
        return { id, client: await rawClient(host, `tabmesh${id}`) };
      }),
    );
    for (const { id, client } of clients.slice(0, 3)) {
      await client.publishAsync(`tabmesh/full/p/${id}`, 'here', { qos: 1, retain: true });
      await client.publishAsync(`tabmesh/full/p/${id}`, 'still', { qos: 1, retain: true });
    }
    const { id, client } = clients[3]!;
    const end = closed(client);
    client.publish(`tabmesh/full/p/${id}`, 'too many', { qos: 1, retain: true });
    await end;
    const other = await rawClient(host, `tabmesh${id}`);
    await other.publishAsync(`tabmesh/empty/p/${id}`, 'here', { qos: 1, retain: true });
    expect(host.broker!.presences).toBe(4);
  });

  test('nothing is kept for a client that is not there, whatever it asks for', async () => {
    const host = await newHost();
    const keep = { clientId: `tabmesh${A}`, clean: false, protocolVersion: 4, reconnectPeriod: 0 } as const;
    const first = connectMqtt(host.url, keep);
    await new Promise((ready) => {
      first.once('connect', ready);
    });
    await first.subscribeAsync('tabmesh/test/ctl', { qos: 1 });
    await first.endAsync(true);
    await expect.poll(() => host.broker!.clients).toBe(0);
    const speaker = await rawClient(host, `tabmesh${B}`);
    for (let i = 0; i < 20; i++) await speaker.publishAsync('tabmesh/test/ctl', 'x', { qos: 1 });
    const again = connectMqtt(host.url, keep);
    const heard: string[] = [];
    again.on('message', (topic) => {
      heard.push(topic);
    });
    const { sessionPresent } = await new Promise<{ sessionPresent: boolean }>((ready) => {
      again.once('connect', ready);
    });
    await again.subscribeAsync('tabmesh/test/p/+', { qos: 1 });
    expect({ sessionPresent, heard }).toEqual({ sessionPresent: false, heard: [] });
    await again.endAsync(true);
  });
});

describe('places', () => {
  test('are shared: so many for one address, and a proxy tells whose they are', async () => {
    const host = await newHost({ maxClients: 8, maxPerAddress: 3 });
    const one = (forwarded?: string) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(
          host.url,
          'mqtt',
          forwarded === undefined ? {} : { headers: { 'x-forwarded-for': forwarded } },
        );
        socket.on('open', () => resolve('open'));
        socket.on('error', (error) => resolve(error.message.replace(/^.*: /, '')));
      });
    const several = async (n: number, forwarded?: string): Promise<string[]> => {
      const all: string[] = [];
      for (let i = 0; i < n; i++) all.push(await one(forwarded));
      return all;
    };
    expect(await several(4)).toEqual(['open', 'open', 'open', '503']);
    expect(await several(4, '6.6.6.6, 203.0.113.7')).toEqual(['open', 'open', 'open', '503']);
    // One machine has all addresses below its 64 bits.
    expect([await one('2001:db8::1'), await one('2001:db8:0:0:ffff::2'), await one('2001:db8:0:1::1')]).toEqual([
      'open',
      'open',
      '503',
    ]);
    for (const socket of host.sockets.values()) socket.destroy();
    await expect.poll(() => several(1)).toEqual(['open']);
  });

  test('forty people behind one address all meet', async () => {
    const host = await newHost();
    const ids = Array.from({ length: 40 }, () => hex(8));
    const clients = await Promise.all(ids.map((id) => rawClient(host, `tabmesh${id}`)));
    await Promise.all(
      clients.map((client, i) =>
        client.publishAsync(`tabmesh/class/p/${ids[i]}`, Buffer.alloc(1000), { qos: 1, retain: true }),
      ),
    );
    expect(host.broker!.presences).toBe(40);
    const seen = new Set<string>();
    clients[0]!.on('message', (topic) => {
      seen.add(topic);
    });
    await clients[0]!.subscribeAsync('tabmesh/class/p/+', { qos: 1 });
    await expect.poll(() => seen.size).toBe(40);
  });

  test('a web socket that never becomes a client is closed', async () => {
    const host = await newHost({ connectMs: 200 });
    for (const send of [undefined, Buffer.from([0x10]), Buffer.from('c000', 'hex')]) {
      const socket = new WebSocket(host.url, 'mqtt');
      socket.on('error', () => {});
      socket.on('open', () => {
        if (send) socket.send(send);
      });
      await new Promise((end) => {
        socket.on('close', end);
      });
    }
    await expect.poll(() => host.sockets.size).toBe(0);
  });

  test('an upgrade that breaks off, a proxy that sends nonsense: the server goes on', async () => {
    const host = await newHost();
    const head = `GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`;
    for (const more of ['', '\x82', '\xff\xff\xff', '\x81\x85aaaahello']) {
      await new Promise<void>((over) => {
        const socket = connect(host.port, '127.0.0.1', () =>
          socket.write(head + more, 'latin1', () => socket.resetAndDestroy()),
        );
        socket.on('close', () => over());
        socket.on('error', () => {});
      });
    }
    for (const headers of [
      { 'sec-websocket-version': '9' },
      { 'sec-websocket-key': 'short' },
      { 'sec-websocket-protocol': 'other' },
    ]) {
      await new Promise<void>((over) => {
        httpRequest({
          port: host.port,
          host: '127.0.0.1',
          path: '/mqtt',
          headers: {
            connection: 'Upgrade',
            upgrade: 'websocket',
            'sec-websocket-version': '13',
            'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
            ...headers,
          },
        })
          .on('response', (response) => {
            response.resume();
            over();
          })
          .on('upgrade', (_, socket) => {
            socket.destroy();
            over();
          })
          .on('error', () => over())
          .end();
      });
    }
    await expect(rawClient(host, `tabmesh${A}`)).resolves.toBeDefined();
  });
});

describe('a flood is ended', () => {
  const openSocket = async (host: Host): Promise<WebSocket> => {
    const socket = new WebSocket(host.url, 'mqtt');
    socket.on('error', () => {});
    await new Promise((open) => {
      socket.once('open', open);
    });
    socket.send(
      generate({
        cmd: 'connect',
        clientId: `tabmesh${hex(8)}`,
        protocolVersion: 4,
        clean: true,
        keepalive: 0,
        protocolId: 'MQTT',
      }),
    );
    await new Promise((acknowledged) => {
      socket.once('message', acknowledged);
    });
    return socket;
  };
  test.each([
    [
      'a packet that says it is 200 MB',
      () => Buffer.concat([Buffer.from([0x30, 0x80, 0x80, 0x80, 0x64]), Buffer.alloc(1000)]),
    ],
    ['a length of five bytes', () => Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01])],
    ['pings without end', () => Buffer.concat(Array<Buffer>(8000).fill(Buffer.from([0xc0, 0])))],
  ])('of %s', async (_, make) => {
    const host = await newHost();
    const socket = await openSocket(host);
    const end = new Promise((over) => {
      socket.once('close', over);
    });
    socket.send(make());
    await end;
    await expect.poll(() => host.broker!.clients).toBe(0);
  });

  test('and a client that does not read does not hold up the others', async () => {
    const host = await newHost();
    const deaf = await openSocket(host);
    const [a, b] = [await rawClient(host, `tabmesh${A}`), await rawClient(host, `tabmesh${B}`)];
    deaf.send(generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'tabmesh/busy/ctl', qos: 0 }] }));
    await new Promise((acknowledged) => {
      deaf.once('message', acknowledged);
    });
    (deaf as unknown as { _socket: { pause(): void } })._socket.pause();
    // More than the buffers of two sockets hold; nobody waits for the deaf one.
    for (let i = 0; i < 400; i++) a.publish('tabmesh/busy/ctl', Buffer.alloc(16_000), { qos: 0 });
    await b.subscribeAsync('tabmesh/quiet/ctl', { qos: 1 });
    const heard = new Promise((got) => {
      b.once('message', got);
    });
    await b.publishAsync('tabmesh/quiet/ctl', 'x', { qos: 1 });
    await heard;
  });
});

test('the gauge walks over packets however they are cut', () => {
  const packets = Buffer.concat([
    Buffer.from([0xc0, 0]),
    Buffer.from([0x30, 0x80, 0x01]),
    Buffer.alloc(128),
    Buffer.from([0x40, 2, 0, 1]),
  ]);
  for (const size of [1, 2, 3, 7, packets.length]) {
    const kinds: number[] = [];
    const gauge = new PacketGauge(128, (kind) => kinds.push(kind));
    for (let at = 0; at < packets.length; at += size)
      expect(gauge.take(packets.subarray(at, at + size))).toBeUndefined();
    expect(kinds).toEqual([12, 3, 4]);
  }
  expect(new PacketGauge(127, () => {}).take(packets)).toBe('expected a packet of at most 127 bytes, got one of 128');
});

test('closes: its clients go, the page stays', async () => {
  const host = await newHost();
  const client = await rawClient(host, 'x');
  const end = closed(client);
  await host.broker!.close();
  await end;
  expect(await (await fetch(`http://127.0.0.1:${host.port}/`)).text()).toBe('page');
  host.broker = undefined;
});
