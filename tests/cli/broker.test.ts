import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { closed, newHost, rawClient, stopHosts } from '../cluster/mqtt-host.ts';
import type { Host } from '../cluster/mqtt-host.ts';

afterEach(stopHosts);

/** 'open', or what the server answered instead. */
const upgrade = (host: Host, path: string, protocol: string, origin?: string): Promise<string> => new Promise((resolve) => {
  const socket = new WebSocket(`ws://127.0.0.1:${host.port}${path}`, protocol, origin ? { origin } : {});
  socket.on('error', (error) => resolve(error.message));
  socket.on('open', () => { socket.terminate(); resolve('open'); });
});

describe('the embedded broker', () => {
  test('closes a client that sends more than 16 KiB, and one that sends too often', async () => {
    const host = await newHost({ publishesPerSecond: 1, publishBurst: 20 });
    const big = await rawClient(host, 'tabmesh-aaaaaaaaaaaaaaaa');
    const bigClosed = closed(big);
    big.publish('tabmesh/test/p/aaaaaaaaaaaaaaaa', Buffer.alloc(16 * 1024 + 1), { qos: 1, retain: true });
    await bigClosed;
    const fits = await rawClient(host, 'tabmesh-bbbbbbbbbbbbbbbb');
    await fits.publishAsync('tabmesh/test/p/bbbbbbbbbbbbbbbb', Buffer.alloc(16 * 1024), { qos: 1, retain: true });

    const chatty = await rawClient(host, 'tabmesh-cccccccccccccccc');
    const chattyClosed = closed(chatty);
    let accepted = 0;
    for (let i = 0; i < 30; i++) chatty.publish('tabmesh/test/ctl', 'x', { qos: 1 }, (error) => { if (!error) accepted++; });
    await chattyClosed;
    expect(accepted).toBeLessThanOrEqual(21);
  });

  test('lets nobody speak for another, list rooms or keep anything but a presence', async () => {
    const host = await newHost();
    const refused: [string, { retain: boolean }][] = [
      ['tabmesh/test/p/aaaaaaaaaaaaaaaa', { retain: true }], ['tabmesh/test/s/aaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaaa', { retain: false }],
      ['tabmesh/test/ctl', { retain: true }], ['elsewhere/x', { retain: false }],
    ];
    for (const [topic, { retain }] of refused) {
      const client = await rawClient(host, 'tabmesh-bbbbbbbbbbbbbbbb');
      const end = closed(client);
      client.publish(topic, 'x', { qos: 1, retain });
      await end;
    }
    const curious = await rawClient(host, 'tabmesh-dddddddddddddddd');
    for (const filter of ['#', 'tabmesh/+/p/+', 'tabmesh/test/#', 'tabmesh/test/s/+/+']) {
      await expect(curious.subscribeAsync(filter), filter).rejects.toThrow();
    }
    await expect(curious.subscribeAsync('tabmesh/test/p/+')).resolves.toBeDefined();
  });

  test('takes pages of its own host and of allowed origins only', async () => {
    const host = await newHost({ allowOrigins: ['https://good.example'] });
    await rawClient(host, 'own', `http://127.0.0.1:${host.port}`);
    await rawClient(host, 'good', 'https://good.example');
    expect(await upgrade(host, '/mqtt', 'mqtt', 'https://evil.example')).toMatch(/403/);
    expect(host.broker!.clients).toBe(2);
  });

  test('leaves the upgrades of others alone, and answers those that nobody else would', async () => {
    const host = await newHost();
    expect(await upgrade(host, '/elsewhere', 'mqtt')).toMatch(/404/);
    const foreign: string[] = [];
    host.server!.on('upgrade', (request, socket) => {
      const protocol = request.headers['sec-websocket-protocol'];
      if (protocol === 'vite-hmr') { foreign.push(protocol); socket.end('HTTP/1.1 418 Teapot\r\n\r\n'); }
    });
    expect(await upgrade(host, '/mqtt', 'vite-hmr')).toMatch(/418/);
    expect(await upgrade(host, '/mqtt', 'mqtt')).toBe('open');
    expect(foreign).toEqual(['vite-hmr']);
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
});
