// What the page server answers: the built pages and nothing else of this machine, with headers that isolate them, below
// a path of a proxy too; and the sentences of what cannot be served.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { WebSocket } from 'ws';
import { afterEach, describe, expect, it } from 'vitest';
import { baseOf, hostsOf } from '../../src/cli/commands/serve.ts';
import { securityHeaders } from '../../src/server/headers.ts';
import { startPageServer } from '../../src/server/page-server.ts';
import { ask, HASHED, newServer, pagesFolder, sendRaw, stopServers } from './support.ts';

afterEach(stopServers);

const UPGRADE = 'Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n';
const KEYED = `${UPGRADE}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n`;

/** 'open', or what the server answered instead. */
const upgrade = (url: string, headers: Record<string, string> = {}, origin?: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = new WebSocket(url, 'mqtt', { headers, ...(origin === undefined ? {} : { origin }) });
    socket.on('error', (error) => resolve(error.message));
    socket.on('open', () => {
      socket.terminate();
      resolve('open');
    });
  });

describe('pages', () => {
  it('are files of the build; what has a hash in its name never changes, the rest is asked for anew', async () => {
    const { port } = await newServer();
    expect(await ask(port, '/')).toMatchObject({
      status: 200,
      body: '<!doctype html><title>page</title>',
      headers: { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache' },
    });
    const page = await ask(port, '/index.html?x=1');
    expect((await ask(port, '/index.html', { headers: { 'if-none-match': page.headers.etag } })).status).toBe(304);
    expect(await ask(port, `/${HASHED}`)).toMatchObject({
      status: 200,
      headers: {
        'content-type': expect.stringMatching(/javascript/),
        'cache-control': 'public, max-age=31536000, immutable',
      },
    });
    expect(await ask(port, `/${HASHED}`, { method: 'HEAD' })).toMatchObject({
      status: 200,
      body: '',
      headers: { 'content-length': '17' },
    });
    expect(await ask(port, `/${HASHED}`, { headers: { range: 'bytes=0-5' } })).toMatchObject({
      status: 206,
      body: 'export',
    });
    // Never the page instead of a script.
    expect(await ask(port, '/assets/part-00000000.js')).toMatchObject({
      status: 404,
      headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' },
    });
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])
      expect(await ask(port, '/', { method })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
  });

  it('have nothing of this machine beside them', async () => {
    const pages = pagesFolder();
    const { port } = await newServer({ pages });
    const secret = `${basename(pages)}.secret`;
    const paths = [
      '/.stamp',
      '/%2estamp',
      '/assets/',
      '/assets',
      `/../${secret}`,
      `/..%2f${secret}`,
      `/%2e%2e/${secret}`,
      `/assets/../../${secret}`,
      `/..\\${secret}`,
      `/assets/..%5c..%5c${secret}`,
      `//${secret}`,
      `/@fs${pages}.secret`,
      `/@fs/${pages}.secret`,
      '/package.json',
      '/src/cli/main.ts',
      '/src/cli/main.ts?raw',
      '/@vite/client',
      '/__open-in-editor?file=/etc/passwd',
      '/node_modules/.vite/x',
      `/${pages}.secret`,
      '/%',
      '/%00',
      '/\u00e9',
      '/index.html%00.js',
      '/index.html/',
      '//',
      '/./.stamp',
    ];
    for (const path of paths) {
      const answer = await sendRaw(
        port,
        `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: close\r\n\r\n`,
        'wait',
      );
      expect(answer, path).toMatch(/^HTTP\/1\.1 (400|403|404) /);
      expect(answer, path).not.toContain('\r\n\r\nsecret');
    }
  });

  it('are isolated and run nothing but their own scripts: every answer says so', async () => {
    const { port } = await newServer();
    const answers = await Promise.all(
      ['/', `/${HASHED}`, '/nothing', '/ice', '/mqtt', '/run/x', '/%'].map((path) => ask(port, path)),
    );
    answers.push(
      await ask(port, '/', { headers: { host: 'evil.example' } }),
      await ask(port, '/', { method: 'DELETE' }),
    );
    for (const { headers } of answers) {
      expect(headers).toMatchObject({
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
        'cross-origin-resource-policy': 'same-origin',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      });
      expect(headers['content-security-policy']).toMatch(
        /^default-src 'none'; script-src 'self'( 'wasm-unsafe-eval')?; style-src 'self';/,
      );
      expect(headers['content-security-policy']).not.toMatch(/unsafe-inline|'unsafe-eval'|\*/);
    }
    const raw = [
      await sendRaw(port, 'nonsense\r\n\r\n'),
      await sendRaw(port, `GET / HTTP/1.1\r\nHost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`),
    ];
    expect(raw.map((text) => text.slice(0, 12))).toEqual(['HTTP/1.1 400', 'HTTP/1.1 431']);
    for (const text of raw) expect(text).toMatch(/x-content-type-options: nosniff/);
  });

  // What Node's parser and the web socket library would answer by themselves.
  it.each([
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'Host: expected a name'],
    ['an unknown expectation', 'GET / HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\n\r\n', 417, 'Expect: only'],
    ['a posted upgrade', `POST /mqtt HTTP/1.1\r\n${UPGRADE}\r\n`, 405, 'expected a web socket'],
    ['an upgrade without a key', `GET /mqtt HTTP/1.1\r\n${UPGRADE}\r\n`, 400, 'expected a web socket'],
    ['another kind of upgrade', `GET /mqtt HTTP/1.1\r\n${UPGRADE.replace('websocket', 'h2c')}\r\n`, 400, 'Upgrade'],
    ['a protocol that is no name', `GET /mqtt HTTP/1.1\r\n${KEYED}Sec-WebSocket-Protocol: ,,\r\n\r\n`, 400, 'Protocol'],
    [
      'an old version',
      `GET /mqtt HTTP/1.1\r\n${KEYED.replace(': 13', ': 5')}\r\n`,
      400,
      'sec-websocket-version: 13, 8',
    ],
  ])('also %s', async (_what, bytes, status, told) => {
    const { port } = await newServer();
    const text = await sendRaw(port, bytes);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`));
    expect(text).toContain(told);
    for (const name of Object.keys(securityHeaders(''))) expect(text).toContain(`${name}: `);
    // One answer, with a body of our own.
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(text).toContain('content-type: text/plain; charset=utf-8');
  });
});

describe('one rule of who may ask', () => {
  it('holds for pages, the broker and /ice', async () => {
    const server = await newServer({ allowedHosts: hostsOf('tabmesh.example.org') });
    const { port } = server;
    const asked = async (host: string, origin?: string): Promise<(string | number)[]> => {
      const headers = { host, ...(origin === undefined ? {} : { origin }) };
      return [
        (await ask(port, '/', { headers })).status,
        (await ask(port, '/ice', { headers })).status,
        (await upgrade(`ws://localhost:${port}/mqtt`, { host }, origin)).replace(/^.*: /, ''),
      ];
    };
    for (const [host, origin] of [
      ['tabmesh.example.org', 'https://tabmesh.example.org'],
      [`127.0.0.1:${port}`, 'https://tabmesh.example.org'],
      [`localhost:${port}`, `http://localhost:${port}`],
      [`localhost:${port}`, undefined],
    ] as const) {
      expect(await asked(host, origin), `${host} ${origin}`).toEqual([200, 200, 'open']);
    }
    for (const [host, origin] of [
      ['evil.example', undefined],
      ['evil.example', 'http://evil.example'],
      [`localhost:${port}`, 'https://evil.example'],
      [`localhost:${port}`, 'null'],
      ['tabmesh.example.org', 'https://evil.example'],
    ] as const) {
      expect(await asked(host, origin), `${host} ${origin}`).toEqual([403, 403, '403']);
    }
    // Each name once, however often it asks.
    expect(server.notes.filter((note) => note.startsWith('Host evil.example'))).toHaveLength(1);
    expect(server.notes.every((note) => /^[\x20-\x7e]+$/.test(note))).toBe(true);
  });

  it('a page can hear why the broker is refused', async () => {
    const { port } = await newServer();
    const post = (origin: string) => ask(port, '/mqtt', { method: 'POST', headers: { origin } });
    expect(await post('https://tabmesh.example.org')).toMatchObject({
      status: 403,
      body: expect.stringContaining('start it with --allow-host tabmesh.example.org'),
    });
    expect(await post(`http://localhost:${port}`)).toMatchObject({ status: 426 });
  });

  it('an upgrade to anything else is answered', async () => {
    const { port } = await newServer();
    for (const path of ['/', '/elsewhere', '//', '//[]/mqtt', 'http://', 'http://x/mqtt', '/%', '/mqtt/', '*']) {
      const head = `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`;
      expect(await sendRaw(port, head, 'wait'), path).toMatch(
        /^HTTP\/1\.1 404 [^]*there is no web socket at this address/,
      );
    }
  });
});

describe('--base', () => {
  it('puts everything below a path', async () => {
    const server = await newServer({ base: baseOf('sub/') });
    expect(server.url).toMatch(/:\d+\/sub\/$/);
    const statuses = await Promise.all(
      ['/sub/', '/sub', '/sub/ice', `/sub/${HASHED}`, '/', '/ice', '/subway/', '/sub/sub/'].map(
        async (path) => (await ask(server.port, path)).status,
      ),
    );
    expect(statuses).toEqual([200, 308, 200, 200, 404, 404, 404, 404]);
    expect(await ask(server.port, '/')).toMatchObject({ body: 'everything lies below /sub/\n' });
    expect(await upgrade(`ws://localhost:${server.port}/sub/mqtt`)).toBe('open');
    expect(await upgrade(`ws://localhost:${server.port}/mqtt`)).toMatch(/404/);
    const run = server.openRun();
    run.put('text', 'x');
    expect((await fetch(new URL(`${run.files}/text`, server.url))).status).toBe(200);
  });
  it.each([
    ['/', '/'],
    ['', '/'],
    ['/a', '/a/'],
    ['a/b/', '/a/b/'],
    ['//a//', '/a/'],
  ])('%s is %s', (text, base) => {
    expect(baseOf(text)).toBe(base);
  });
  it.each(['/a/../b', 'a//b', '/a b/', 'https://x', '/a?b', '/ä/', '/%41/'])('%s is no path', (text) => {
    expect(() => baseOf(text)).toThrow(`--base: expected a path like /tabmesh/, got '${text}'`);
  });
});

describe('--allow-host', () => {
  it.each([
    'https://tabmesh.example.org',
    'a b',
    'x..y',
    'host:80',
    '.',
    '.1.2.3.4',
    'a/b',
    'user@host',
    '*.example.org',
  ])('%s is no name', (text) => {
    expect(() => hostsOf(text)).toThrow(`--allow-host: expected names like tabmesh.example.org, got '${text}'`);
  });
  it('a wild card is told how it is written', () => {
    expect(() => hostsOf('*.Example.org')).toThrow(
      "got '*.Example.org'; for it and all names below it write '.example.org'",
    );
    expect(hostsOf('.example.org')).toEqual(['.example.org']);
    expect(() => hostsOf('*.1.2.3.4')).toThrow(/got '\*\.1\.2\.3\.4'$/);
  });
  it('takes names in any form, and addresses', () => {
    expect([hostsOf(undefined), hostsOf(' A.Example , .b., 203.0.113.7,::1 ')]).toEqual([
      [],
      ['a.example', '.b', '203.0.113.7', '[::1]'],
    ]);
  });
});

describe('what cannot be served is one sentence', () => {
  it('a port that is taken', async () => {
    const taken = createServer().listen(0, 'localhost');
    await new Promise((listening) => {
      taken.once('listening', listening);
    });
    const { port } = taken.address() as AddressInfo;
    await expect(startPageServer({ pages: pagesFolder(), port })).rejects.toMatchObject({
      name: 'ServeError',
      message: `port ${port}: it is already in use; end the program that has it, or choose another with --port`,
    });
    await new Promise((closed) => {
      taken.close(closed);
    });
  });
  it('a folder without pages', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'tabmesh-empty-'));
    writeFileSync(join(empty, 'other.html'), '');
    await expect(startPageServer({ pages: empty })).rejects.toThrow(
      `pages: expected a build with index.html in ${empty}, found none`,
    );
    rmSync(empty, { recursive: true });
  });
});
