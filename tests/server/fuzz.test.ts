// `tabmesh serve` as a process, and connections that are rude in every way: odd methods, paths, headers, upgrades,
// bodies that break off, bytes that are no HTTP and no MQTT. It never ends, still serves afterwards, and its memory
// stays where it was. Some thousand requests in every run, 100,000 in `npm run test:all` or as many as
// TABMESH_FUZZ_REQUESTS says; TABMESH_FUZZ_SEED for others.

import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createServer, connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { rawClient } from '../cluster/mqtt-host.ts';
import { dice } from '../support/dice.ts';
import type { Dice } from '../support/dice.ts';
import { ALL } from '../support/sample.ts';
import { ask, pagesFolder, stopServers } from './support.ts';

const REQUESTS = Number(process.env['TABMESH_FUZZ_REQUESTS'] ?? (ALL ? 100_000 : 3000));
const SEED = Number(process.env['TABMESH_FUZZ_SEED'] ?? 1);
const AT_ONCE = 32;
/** What is left open on purpose is closed after this; the server has longer limits of its own. */
const PATIENCE_MS = 30;
/** Of the heap and of the C library after tens of thousands of connections. */
const MEMORY_MB = 96;

let child: ChildProcess | undefined;
afterEach(async () => {
  if (child?.exitCode === null) {
    child.kill('SIGKILL');
    await new Promise((exit) => {
      child!.once('exit', exit);
    });
  }
  await stopServers();
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, 'localhost');
  await new Promise((listening) => {
    probe.once('listening', listening);
  });
  const { port } = probe.address() as AddressInfo;
  await new Promise((closed) => {
    probe.close(closed);
  });
  return port;
}

async function serve(port: number): Promise<{ readonly pid: number; readonly output: () => string }> {
  const program = fileURLToPath(new URL('../../bin/tabmesh.mjs', import.meta.url));
  const started = (child = spawn(
    process.execPath,
    [program, 'serve', '--local', '--port', String(port), '--pages', pagesFolder()],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  ));
  let output = '';
  for (const stream of [started.stdout!, started.stderr!])
    stream.on('data', (part: Buffer) => {
      output += part.toString();
    });
  await expect.poll(() => output, { timeout: 60_000 }).toMatch(/Ctrl-C stops/);
  return { pid: started.pid!, output: () => output };
}

const residentMb = (pid: number): number =>
  Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1024;

const pick = <T>(d: Dice, list: readonly T[]): T => list[d.below(list.length)]!;
const METHODS = [
  'GET',
  'GET',
  'POST',
  'POST',
  'HEAD',
  'PUT',
  'DELETE',
  'OPTIONS',
  'PATCH',
  'TRACE',
  'CONNECT',
  'PROPFIND',
  'get',
  '',
  'G\u00e9T',
  'M-SEARCH',
  'QUERY',
];
const TOKEN = '0123456789abcdef'.repeat(2);
const PATHS = [
  '/',
  '//',
  '/index.html',
  '/assets/part-AbCd_-12.js',
  '/assets/',
  '/mqtt',
  '/ice',
  '/ice/',
  '/result/%',
  '/result/x',
  `/run/${TOKEN}/results/x`,
  `/run/${TOKEN}/files/x`,
  '/run/%',
  '/%',
  '/%00',
  '/%ff%fe',
  '/..',
  '/../../etc/passwd',
  '/%2e%2e%2f%2e%2e%2fetc/passwd',
  '/..%5c',
  '*',
  'http://',
  'http://localhost/',
  'https://evil.example:99999/',
  '//[]/mqtt',
  '///',
  '/?',
  '/?%',
  '/#',
  '/a?b?c',
  '/\\',
  '/.stamp',
  `/${'a'.repeat(9000)}`,
  `/${'/'.repeat(3000)}`,
  `/${'%2e'.repeat(2000)}`,
  '/\u00e9',
  'x',
  '',
  ' ',
  '/\t',
  '/%c0%ae',
  '/__open-in-editor?file=x',
  '/@fs/etc/passwd',
];
const HOSTS = [
  'localhost',
  'localhost:PORT',
  '127.0.0.1:PORT',
  '[::1]',
  'evil.example',
  '',
  ' ',
  '[',
  ']',
  'a'.repeat(3000),
  'localhost:99999',
  'local\u00e9host',
  '%',
  '::',
  '@',
  'x\u0001',
  'localhost, localhost',
];
const HEADERS = [
  'Origin: null',
  'Origin: https://evil.example',
  'Origin: http://localhost:PORT',
  'Origin: http://[',
  'Origin:',
  'Sec-Fetch-Site: cross-site',
  'Range: bytes=0-',
  'Range: bytes=9-1,5',
  'Range: x',
  'If-None-Match: "x"',
  'If-Modified-Since: never',
  'If-Range: x',
  'Expect: 100-continue',
  'Expect: tea',
  'X-Forwarded-For: 1.2.3.4',
  'X-Forwarded-For: \u0000',
  'X-Forwarded-For: ::::',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip',
  'Content-Length: 5',
  'Content-Length: -1',
  'Content-Length: 99999999999999',
  'Content-Length: 5\r\nContent-Length: 6',
  'Connection: close',
  'Connection: keep-alive, Upgrade',
  'Upgrade: h2c',
  'Upgrade: websocket',
  ' folded',
  'No colon',
  `Cookie: ${'c'.repeat(5000)}`,
  `Accept: ${'a'.repeat(20_000)}`,
  'Accept-Encoding: br',
  'Host: second.example',
  '\u0000: x',
  ': x',
];
const SOCKET = [
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Version: 9',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  'Sec-WebSocket-Key: short',
  'Sec-WebSocket-Protocol: mqtt',
  'Sec-WebSocket-Protocol: vite-hmr',
  'Sec-WebSocket-Protocol: ,',
  'Sec-WebSocket-Extensions: permessage-deflate',
  'Sec-WebSocket-Extensions: ;;',
];
const GOOD_UPGRADE = ['Connection: Upgrade', 'Upgrade: websocket', SOCKET[0]!, SOCKET[2]!, SOCKET[4]!];

const some = (d: Dice, list: readonly string[], most: number): string[] =>
  Array.from({ length: d.below(most + 1) }, () => pick(d, list));

function httpBytes(d: Dice, port: number): Buffer {
  const lines = [
    `${pick(d, METHODS)} ${pick(d, PATHS)} HTTP/${pick(d, ['1.1', '1.1', '1.1', '1.0', '2.0', '0.9', '9'])}`,
  ];
  if (d.below(8) > 0) lines.push(`Host: ${d.below(3) > 0 ? 'localhost:PORT' : pick(d, HOSTS)}`);
  lines.push(...some(d, HEADERS, 4));
  if (d.below(4) === 0) lines.push(...some(d, SOCKET, 4), 'Connection: Upgrade', 'Upgrade: websocket');
  const body = pick(d, ['', '', 'abc', '5\r\nhello\r\n0\r\n\r\n', 'ffffffffff\r\n', 'x'.repeat(70_000)]);
  return Buffer.concat([
    Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`.replaceAll('PORT', String(port)), 'latin1'),
    d.below(4) === 0 ? d.bytes(d.below(300)) : Buffer.alloc(0),
  ]);
}

/** A frame of a client, masked with zeros. */
function frame(opcode: number, payload: Uint8Array): Buffer {
  const length =
    payload.length < 126
      ? Buffer.from([0x80 | payload.length])
      : Buffer.from([0xfe, payload.length >> 8, payload.length & 255]);
  return Buffer.concat([Buffer.from([0x80 | opcode]), length, Buffer.alloc(4), payload]);
}

const CONNECT = Buffer.from('101a00044d5154540402003c000e7461626d65736861616161616161', 'hex');
function mqttBytes(d: Dice, port: number): Buffer {
  const head = Buffer.from(`GET /mqtt HTTP/1.1\r\nHost: localhost:${port}\r\n${GOOD_UPGRADE.join('\r\n')}\r\n\r\n`);
  const packets = Array.from({ length: 1 + d.below(6) }, () => {
    if (d.below(3) === 0) return CONNECT;
    const kind = d.bytes(2 + d.below(40));
    if (d.below(2) === 0) kind[1] = kind.length - 2;
    return Buffer.from(kind);
  });
  return Buffer.concat([
    head,
    ...packets.map((packet) => frame(pick(d, [2, 2, 2, 2, 1, 8, 9, 10, 0, 3]), packet)),
    d.below(3) === 0 ? Buffer.from(d.bytes(d.below(200))) : Buffer.alloc(0),
  ]);
}

/** One connection; resolves when it is closed. */
function rude(d: Dice, port: number): Promise<void> {
  const kind = d.below(10);
  let bytes =
    kind < 6
      ? httpBytes(d, port)
      : kind < 8
        ? mqttBytes(d, port)
        : kind === 8
          ? Buffer.concat([httpBytes(d, port), httpBytes(d, port), httpBytes(d, port)])
          : Buffer.from(d.bytes(1 + d.below(500)));
  if (d.below(5) === 0) bytes = bytes.subarray(0, d.below(bytes.length + 1));
  const end = d.below(4);
  const waitMs = d.below(PATIENCE_MS);
  return new Promise((resolve) => {
    const socket = connect(port, 'localhost', () => {
      socket.write(bytes, () => {
        if (end === 0) socket.resetAndDestroy();
        else if (end === 1) socket.end();
        else if (end === 2) socket.destroy();
      });
      // The connections that the server would keep are what is timed here.
      setTimeout(() => socket.destroy(), waitMs);
    });
    socket.resume();
    socket.on('error', () => {
      /* whatever the server does with it */
    });
    socket.on('close', () => resolve());
  });
}

async function storm(port: number, count: number, seed: number): Promise<void> {
  let left = count;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, lane) => {
      const d = dice(seed * 1000 + lane);
      while (left-- > 0) await rude(d, port);
    }),
  );
}

it(
  `lives through ${REQUESTS} rude connections`,
  async () => {
    const port = await freePort();
    const { pid, output } = await serve(port);
    // Code is compiled and buffers grow to their size.
    await storm(port, Math.min(2000, Math.ceil(REQUESTS / 3)), SEED);
    const before = residentMb(pid);
    await storm(port, REQUESTS, SEED + 1);
    expect(child!.exitCode, output()).toBeNull();
    const after = residentMb(pid);
    console.log(`${REQUESTS} rude connections, seed ${SEED}: ${before.toFixed(0)} -> ${after.toFixed(0)} MB`);
    expect(after - before, 'growth in MB').toBeLessThan(MEMORY_MB);
    expect(output().split('\n').length, 'lines of output').toBeLessThan(80);
    expect(output()).not.toMatch(/\n\s+at |could not be answered/);
    expect(await ask(port, '/')).toMatchObject({ status: 200, body: '<!doctype html><title>page</title>' });
    const client = await rawClient(
      { url: `ws://localhost:${port}/mqtt` } as Parameters<typeof rawClient>[0],
      `tabmesh${'e'.repeat(16)}`,
    );
    await client.publishAsync(`tabmesh/after/p/${'e'.repeat(16)}`, 'here', { qos: 1, retain: true });
    await client.endAsync(true);
    child!.kill('SIGTERM');
    expect(
      await new Promise((exit) => {
        child!.once('exit', exit);
      }),
    ).toBe(130);
  },
  Math.max(60_000, REQUESTS * 20),
);
