// STUN and TURN servers as people write them, and as a server lends them.

import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { ConfigError, FormatError } from '../../../src/base/errors.ts';
import { VirtualWorld } from '../../../src/base/world.ts';
import { IceSource } from '../../../src/app/training/ice-source.ts';
import { decodeLentIce, NO_ICE, readIce } from '../../../src/cluster/ice/servers.ts';

describe('the parts of a link', () => {
  it('are none, STUN alone, or TURN with its credentials', () => {
    expect(readIce({})).toEqual(NO_ICE);
    expect(readIce({ ice: 'stun:stun.example, stuns:[2001:db8::1]:5349' }).iceServers).toEqual([
      { urls: 'stun:stun.example' },
      { urls: 'stuns:[2001:db8::1]:5349' },
    ]);
    expect(
      readIce({ ice: 'turns:t.example:443?transport=tcp,stun:s.example:3478', turnuser: 'u', turnpass: 'p' }),
    ).toEqual({
      iceServers: [
        { urls: 'turns:t.example:443?transport=tcp', username: 'u', credential: 'p' },
        { urls: 'stun:s.example:3478' },
      ],
      relayOnly: false,
    });
    expect(readIce({ relay: 'only' }).relayOnly).toBe(true);
  });

  test.each([
    [
      { ice: 'http://x.example' },
      'link: ice: expected stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT], got "http://x.example"',
    ],
    [{ ice: 'stun:' }, 'got "stun:"'],
    [{ ice: 'stun:h:0' }, 'got "stun:h:0"'],
    [{ ice: 'stun:h:65536' }, 'got "stun:h:65536"'],
    [{ ice: 'stun:user@h' }, 'got "stun:user@h"'],
    [{ ice: 'stun://h' }, 'got "stun://h"'],
    [{ ice: 'stun:h?transport=udp' }, 'got "stun:h?transport=udp"'],
    [{ ice: 'turn:h?transport=quic', turnuser: 'u', turnpass: 'p' }, 'got "turn:h?transport=quic"'],
    [{ ice: Array.from({ length: 9 }, (_, i) => `stun:h${i}`).join() }, 'ice has 9 servers; expected at most 8'],
    [
      { ice: 'turn:h' },
      'link: expected turnuser and turnpass for "turn:h", got none; add them, or open the page from `tabmesh serve --turn`',
    ],
    [{ ice: 'turn:h', turnuser: 'u' }, 'expected turnuser and turnpass together, got only turnuser'],
    [{ ice: 'turn:h', turnpass: 'p' }, 'got only turnpass'],
    [{ ice: 'turn:h', turnuser: '', turnpass: '' }, 'expected turnuser and turnpass for "turn:h"'],
    [
      { ice: 'stun:h', turnuser: 'u', turnpass: 'p' },
      'expected a TURN server (ice=turn:HOST:PORT) for turnuser and turnpass, got none',
    ],
    [{ relay: 'yes' }, 'link: relay is "yes"; expected only, or no such part'],
  ])('%o is refused in one sentence', (text, message) => {
    const read = (): unknown => readIce(text);
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(message);
  });

  it('never show a password in an error', () => {
    for (const ice of ['turn:h?x=1', 'stun:h', 'no', 'turn:h,turn:'])
      expect(() => readIce({ ice, turnuser: 'bob', turnpass: 'sesame' })).toThrow(/^(?!.*(sesame|bob))/);
  });
});

describe('what a server lends', () => {
  const good = {
    iceServers: [
      { urls: ['turn:h:1?transport=udp', 'turn:h:1?transport=tcp'], username: 'u', credential: 'c' },
      { urls: 'stun:h' },
    ],
    expires: 5,
    ttl: 60,
  };
  it('is decoded', () => {
    expect(decodeLentIce(JSON.stringify(good))).toEqual({
      iceServers: [good.iceServers[0], { urls: ['stun:h'] }],
      ttlSeconds: 60,
    });
    expect(decodeLentIce('{"iceServers":[]}')).toEqual({ iceServers: [], ttlSeconds: 0 });
  });
  test.each([
    '',
    '[]',
    '{}',
    '{"iceServers":{}}',
    '{"iceServers":[1]}',
    '{"iceServers":[{"urls":"http://x"}]}',
    '{"iceServers":[{"urls":[]}]}',
    '{"iceServers":[{"urls":["stun:a",1]}]}',
    '{"iceServers":[{"urls":"turn:h"}]}',
    '{"iceServers":[{"urls":"turn:h","username":"u","credential":7}]}',
    '{"iceServers":[],"ttl":-1}',
    '{"iceServers":[],"ttl":"1"}',
    JSON.stringify({ iceServers: Array.from({ length: 9 }, () => ({ urls: 'stun:h' })) }),
  ])('%s is refused', (text) => {
    expect(() => decodeLentIce(text)).toThrow(FormatError);
  });
  it('throws nothing else, whatever comes', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => `{"iceServers":[${json}]}`),
        ),
        (text) => {
          try {
            decodeLentIce(text);
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('the servers of a page', () => {
  const own = readIce({ ice: 'stun:own.example' });
  const lent = (name: string, ttl: number) =>
    new Response(JSON.stringify({ iceServers: [{ urls: ['turn:h'], username: name, credential: 'c' }], ttl }), {
      headers: { 'content-type': 'application/json' },
    });
  const source = (answer: (n: number) => Response | Error, page = 'http://x.example:8080/a/') => {
    const world = new VirtualWorld();
    const asked: string[] = [];
    const ice = new IceSource({
      world,
      own,
      page,
      fetch: async (address) => {
        const answered = answer(asked.push(String(address)));
        if (answered instanceof Error) throw answered;
        return answered;
      },
    });
    const names = (): (string | undefined)[] => ice.current().iceServers.map(({ username }) => username);
    return { world, asked, ice, names };
  };

  it("are the link's and the lent ones; lent ones are renewed at half of their time and not before", async () => {
    const { world, asked, ice, names } = source((n) => lent(`name-${n}`, 100));
    expect(ice.current()).toEqual(own);
    await ice.refresh();
    expect(names()).toEqual([undefined, 'name-1']);
    await world.advance(49_000);
    await ice.refresh();
    expect(asked).toEqual(['http://x.example:8080/a/ice']);
    await world.advance(2000);
    await ice.refresh();
    expect(names()).toEqual([undefined, 'name-2']);
  });
  test.each<[string, () => Response | Error]>([
    ['a network error', () => new TypeError('failed to fetch')],
    ['404', () => new Response('', { status: 404 })],
    ['429', () => new Response('{}', { status: 429, headers: { 'content-type': 'application/json' } })],
    ['a page instead', () => new Response('<!doctype html>', { headers: { 'content-type': 'text/html' } })],
    ['no such format', () => new Response('{"x":1}', { headers: { 'content-type': 'application/json' } })],
  ])('%s is no error, and what was lent before stays', async (_, bad) => {
    const { world, ice, names } = source((n) => (n === 1 ? bad() : n === 2 ? lent('kept', 10) : bad()));
    await ice.refresh();
    expect(ice.current()).toEqual(own);
    await ice.refresh();
    expect(names()).toEqual([undefined, 'kept']);
    await world.advance(60_000);
    await ice.refresh();
    expect(names()).toEqual([undefined, 'kept']);
  });
  it('a server that never answers costs 3 s, and a page without a server nothing', async () => {
    const world = new VirtualWorld();
    const silent = new IceSource({
      world,
      own,
      page: 'https://x.example/',
      fetch: (_, init) =>
        new Promise((_resolve, reject) => {
          init!.signal!.addEventListener('abort', () => reject(new Error('aborted')));
        }),
    });
    let over = false;
    const refreshed = silent.refresh().then(() => {
      over = true;
    });
    await world.advance(2900);
    expect(over).toBe(false);
    await world.advance(200);
    await refreshed;
    expect([over, world.pending]).toEqual([true, 0]);
    const { asked, ice } = source(() => lent('x', 1), 'file:///tmp/index.html');
    await ice.refresh();
    expect(asked).toEqual([]);
  });
});
