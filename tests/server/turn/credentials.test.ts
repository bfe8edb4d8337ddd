// Short-lived TURN credentials: known answers of the HMAC, secrets and times that cannot be used, and the endpoint over
// a real http server.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, test } from 'vitest';
import { decodeLentIce } from '../../../src/cluster/ice/servers.ts';
import { lenderOf } from '../../../src/cli/commands/serve.ts';
import { mintTurnCredentials, parseTtl, readTurnSecret } from '../../../src/server/turn/credentials.ts';
import { createIceEndpoint } from '../../../src/server/turn/endpoint.ts';
import type { EndpointOptions, IceLender } from '../../../src/server/turn/endpoint.ts';

const SECRET = '0123456789abcdef0123456789abcdef';
const folder = mkdtempSync(join(tmpdir(), 'tabmesh-secret-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('credentials', () => {
  // Computed with Python's hmac and with openssl.
  it.each([
    ['north', 'ninefingers', 1433895918, 'jy8hTxmOO7UtEKXqSkSlvakPVYA='],
    [SECRET, 'tab', 1700000000, 'qg0KevB3D83p32hIW8wulEk4Rxw='],
  ])('of %s for %s', (secret, label, expires, credential) => {
    expect(mintTurnCredentials(secret, label, expires)).toEqual({ username: `${expires}:${label}`, credential });
    // Another secret, label or time is another password; a fraction of a second is none.
    for (const other of [
      mintTurnCredentials(`${secret}x`, label, expires),
      mintTurnCredentials(secret, `${label}x`, expires),
      mintTurnCredentials(secret, label, expires + 1),
    ])
      expect(other.credential).not.toBe(credential);
    expect(mintTurnCredentials(secret, label, expires + 0.7).username).toBe(`${expires}:${label}`);
  });
  it('last from a minute to a day', () => {
    expect(['60', '90s', '15m', '1h', '24h'].map(parseTtl)).toEqual([60, 90, 900, 3600, 86_400]);
    for (const text of ['', '59', '25h', '1d', '-5m', '1.5h', 'h', '9999999'])
      expect(() => parseTtl(text)).toThrow(`--turn-ttl: expected 1m to 24h, like 90s, 15m or 1h, got '${text}'`);
  });
  it('need a secret, which no error shows', () => {
    const file = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    expect(readTurnSecret(file('good', `${SECRET}\n`), {})).toBe(SECRET);
    expect(readTurnSecret(undefined, { TABMESH_TURN_SECRET: SECRET })).toBe(SECRET);
    expect(readTurnSecret(file('first', SECRET), { TABMESH_TURN_SECRET: 'another secret of this kind' })).toBe(SECRET);
    expect(() => readTurnSecret(undefined, {})).toThrow(
      'TABMESH_TURN_SECRET: expected the secret of the TURN server (coturn: static-auth-secret), got none; give --turn-secret-file FILE',
    );
    expect(() => readTurnSecret(file('empty', '\n'), {})).toThrow('--turn-secret-file: expected the secret');
    expect(() => readTurnSecret(join(folder, 'absent'), {})).toThrow('absent cannot be read (ENOENT)');
    expect(() => readTurnSecret(file('short', 'hunter2'), {})).toThrow(
      /^--turn-secret-file: expected a secret of at least 16 characters, got 7; (?!.*hunter2)/,
    );
  });
});

describe('the options of serve', () => {
  const options = (given: Readonly<Record<string, string>>) => ({
    stun: undefined,
    turn: undefined,
    'turn-secret-file': undefined,
    'turn-ttl': '1h',
    ...given,
  });
  const env = { TABMESH_TURN_SECRET: SECRET };
  it('lend nothing, STUN, or TURN', () => {
    expect(lenderOf(options({}), env)).toEqual({ stun: [] });
    expect(lenderOf(options({ stun: 'stun:a.example, stun:b.example:3478' }), {})).toEqual({
      stun: ['stun:a.example', 'stun:b.example:3478'],
    });
    expect(lenderOf(options({ turn: 'turn:t.example:3478,turns:t.example:5349', 'turn-ttl': '5m' }), env)).toEqual({
      stun: [],
      turn: { urls: ['turn:t.example:3478', 'turns:t.example:5349'], secret: SECRET, ttlSeconds: 300 },
    });
  });
  test.each([
    [{ turn: 't.example' }, '--turn: expected stun:HOST'],
    [{ turn: 'stun:t.example' }, '--turn: expected turn:HOST:PORT, got'],
    [{ stun: 'turn:t.example' }, '--stun: expected stun:HOST:PORT, got'],
    [{ 'turn-secret-file': 'x' }, '--turn: expected turn:HOST:PORT for the secret'],
    [{ 'turn-ttl': '1d' }, '--turn-ttl: expected'],
  ])('%o are refused', (given, message) => {
    expect(() => lenderOf(options(given), env)).toThrow(message);
  });
  it('want a secret with --turn', () => {
    expect(() => lenderOf(options({ turn: 'turn:t.example' }), {})).toThrow('TABMESH_TURN_SECRET: expected the secret');
  });
});

describe('/ice', () => {
  const servers: Server[] = [];
  afterEach(async () => {
    await Promise.all(
      servers.splice(0).map(
        (server) =>
          new Promise((closed) => {
            server.close(closed);
          }),
      ),
    );
  });

  interface Answer {
    readonly status: number;
    readonly headers: Readonly<Record<string, unknown>>;
    readonly body: string;
  }
  type Ask = (path?: string, headers?: Record<string, string>, method?: string) => Promise<Answer>;
  async function serve(lender: IceLender, options: EndpointOptions = {}): Promise<Ask> {
    const endpoint = createIceEndpoint(lender, options);
    const server = createServer((request, response) => endpoint(request, response));
    servers.push(server);
    await new Promise<void>((listening) => {
      server.listen(0, '127.0.0.1', listening);
    });
    const { port } = server.address() as AddressInfo;
    return (path = '/ice', headers = {}, method = 'GET') =>
      new Promise((resolve, reject) => {
        httpRequest({ port, host: '127.0.0.1', path, headers, method, agent: false }, (response) => {
          let body = '';
          response.on('data', (part: Buffer) => {
            body += part.toString();
          });
          response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }));
        })
          .on('error', reject)
          .end();
      });
  }
  const turn = { urls: ['turn:t.example:3478'], secret: SECRET, ttlSeconds: 600 };

  it('answers with credentials that are right and expire, and with no secret', async () => {
    const ask = await serve({ stun: ['stun:s.example'], turn }, { now: () => 1_700_000_000_900 });
    const [first, second] = [await ask(), await ask('/ice?x=1')];
    expect(first).toMatchObject({
      status: 200,
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    });
    const { iceServers, expires, ttl } = JSON.parse(first.body) as {
      iceServers: { urls: string[]; username: string; credential: string }[];
      expires: number;
      ttl: number;
    };
    expect({ expires, ttl, stun: iceServers[0] }).toEqual({
      expires: 1_700_000_600,
      ttl: 600,
      stun: { urls: ['stun:s.example'] },
    });
    expect(iceServers[1]!.username).toMatch(/^1700000600:[0-9a-f]{12}$/);
    expect(iceServers[1]).toEqual({
      urls: turn.urls,
      ...mintTurnCredentials(SECRET, iceServers[1]!.username.split(':')[1]!, 1_700_000_600),
    });
    expect(second.body).not.toBe(first.body);
    expect(JSON.stringify([first, second])).not.toContain(SECRET);
    // And the page understands it.
    expect(decodeLentIce(first.body)).toEqual({ iceServers, ttlSeconds: 600 });
  });
  it('without TURN lends STUN alone, or nothing', async () => {
    const [stun, none] = [await serve({ stun: ['stun:s.example'] }), await serve({ stun: [] })];
    expect(JSON.parse((await stun()).body)).toEqual({ iceServers: [{ urls: ['stun:s.example'] }], expires: 0, ttl: 0 });
    expect(JSON.parse((await none()).body)).toEqual({ iceServers: [], expires: 0, ttl: 0 });
  });
  it('refuses other methods', async () => {
    const ask = await serve({ stun: [], turn });
    for (const method of ['POST', 'PUT', 'HEAD', 'OPTIONS'])
      expect(await ask('/ice', {}, method)).toMatchObject({
        status: 405,
        body: '',
        headers: { allow: 'GET', 'cache-control': 'no-store' },
      });
  });
  it('answers each address only so often, and a proxy on this machine says for whom it asks', async () => {
    let now = 0;
    const ask = await serve({ stun: [], turn }, { burst: 3, perMinute: 6, now: () => now });
    const statuses = async (n: number, headers = {}): Promise<number[]> => {
      const all: number[] = [];
      for (let i = 0; i < n; i++) all.push((await ask('/ice', headers)).status);
      return all;
    };
    expect(await statuses(5)).toEqual([200, 200, 200, 429, 429]);
    expect(await ask()).toMatchObject({ status: 429, body: '', headers: { 'retry-after': '10' } });
    // The last address counts; whatever a client put in front of it does not.
    expect(await statuses(4, { 'x-forwarded-for': '1.1.1.1, 203.0.113.7' })).toEqual([200, 200, 200, 429]);
    expect(await statuses(2, { 'x-forwarded-for': '9.9.9.9, 203.0.113.7' })).toEqual([429, 429]);
    now += 10_000;
    expect(await statuses(2)).toEqual([200, 429]);
    now += 3_600_000;
    expect(await statuses(4)).toEqual([200, 200, 200, 429]);
  });
});
