import { afterEach, describe, expect, test } from 'vitest';
import { closed, newHost, rawClient, stopHosts } from '../cluster/mqtt-host.ts';

afterEach(stopHosts);

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
