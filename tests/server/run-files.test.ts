// Files and results of a run: only under its own address, only while it lasts, bounded, and on disk no longer than it.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import type { ClientRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import type { PageServer } from '../../src/server/page-server.ts';
import { ask, newServer, sendRaw, stopServers } from './support.ts';

// What is left behind can only be told in a folder of one's own.
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-own-'));
  vi.stubEnv('TMPDIR', folder);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(stopServers);

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('tabmesh-run-'));
const post = (port: number, path: string, body: Buffer | string, headers = {}) =>
  ask(port, path, { method: 'POST', headers }, body);
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

/** A post that has begun and is not over; resolves once the server works on it. */
async function begin(server: PageServer & { port: number }, path: string, length: number): Promise<ClientRequest> {
  const slow = request({
    port: server.port,
    host: 'localhost',
    path,
    method: 'POST',
    headers: { 'content-length': length, expect: '100-continue' },
  });
  slow.on('error', () => {
    /* broken off on purpose */
  });
  await new Promise<void>((going) => {
    slow.once('continue', going);
    slow.flushHeaders();
  });
  slow.write('abc');
  return slow;
}

it('a run gives its files and takes results; both are gone with it', async () => {
  const server = await newServer();
  const before = folders();
  const run = server.openRun();
  expect(run.put('text', 'Call me')).toBe(`run/${run.token}/files/text`);
  run.put('weights', new Uint8Array([1, 2, 3]));
  expect(await ask(server.port, `/${run.files}/text`)).toMatchObject({
    status: 200,
    body: 'Call me',
    headers: { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' },
  });
  expect((await ask(server.port, `/${run.files}/other`)).status).toBe(404);
  expect(await post(server.port, `/${run.upload}/checkpoint-3.safetensors`, 'weights')).toMatchObject({ status: 200 });
  expect(run.take('checkpoint-3')).toEqual(bytesOf('weights'));
  // A second rank may report the same.
  expect(run.take('checkpoint-3')).toEqual(bytesOf('weights'));
  await post(server.port, `/${run.upload}/checkpoint-3.safetensors`, 'newer');
  expect(run.take('checkpoint-3')).toEqual(bytesOf('newer'));
  expect(() => run.take('checkpoint-4')).toThrow('the page reported checkpoint-4, but did not upload it');
  expect(folders()).toHaveLength(before.length + 1);
  run.close();
  expect(folders()).toEqual(before);
  for (const path of [`/${run.files}/text`, `/${run.upload}/checkpoint-5.safetensors`])
    expect((await post(server.port, path, 'x')).status).toBe(404);
  expect(folders()).toEqual(before);
});

it('nobody else can post or read', async () => {
  const server = await newServer();
  const run = server.openRun();
  run.put('text', 'mine');
  const other = '0'.repeat(32);
  for (const path of [
    '/result/x',
    '/results/x',
    '/run/x',
    '/run/',
    '/run',
    `/run/${other}/results/x`,
    `/run/${run.token.toUpperCase()}x/results/x`,
    `/run/${run.token}`,
    `/run/${run.token}/`,
    `/run/${run.token}/results`,
    `/run/${run.token}/results/`,
    `/run/${run.token}/results/a/b`,
    `/run/${run.token}/results/..%2f..%2fx`,
    `/run/${run.token}/results/.x`,
    `/run/${run.token}/results/${'a'.repeat(101)}`,
    `/run/${run.token}/files/../results/x`,
  ]) {
    expect(await post(server.port, path, 'x'), path).toMatchObject({
      status: 404,
      body: expect.stringMatching(/\w+ \w+/),
    });
  }
  for (const headers of [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { host: 'evil.example' },
  ]) {
    expect((await post(server.port, `/${run.upload}/x`, 'x', headers)).status, JSON.stringify(headers)).toBe(403);
    expect((await ask(server.port, `/${run.files}/text`, { headers })).status, JSON.stringify(headers)).toBe(403);
  }
  for (const method of ['GET', 'PUT', 'DELETE', 'PATCH'])
    expect((await ask(server.port, `/${run.upload}/x`, { method })).status).toBe(405);
  for (const method of ['POST', 'PUT', 'DELETE'])
    expect((await ask(server.port, `/${run.files}/text`, { method })).status).toBe(405);
  expect(() => run.take('x')).toThrow('did not upload it');
});

it('results are capped in size, told or not, and in number', async () => {
  const server = await newServer();
  const run = server.openRun({ maxBytes: 1000, maxWaiting: 3 });
  expect(await post(server.port, `/${run.upload}/a`, Buffer.alloc(1001))).toMatchObject({
    status: 413,
    body: 'a: expected at most 1000 bytes\n',
  });
  expect(
    await ask(
      server.port,
      `/${run.upload}/a`,
      { method: 'POST', headers: { 'transfer-encoding': 'chunked' } },
      Buffer.alloc(100_000),
    ),
  ).toMatchObject({ status: 413 });
  for (const name of ['a', 'b', 'c'])
    expect((await post(server.port, `/${run.upload}/${name}`, Buffer.alloc(1000))).status).toBe(200);
  expect(await post(server.port, `/${run.upload}/d`, 'x')).toMatchObject({
    status: 429,
    body: expect.stringContaining('expected at most 3 results that wait'),
  });
  // The same again takes no more room; what was taken makes room.
  expect((await post(server.port, `/${run.upload}/c`, 'x')).status).toBe(200);
  run.take('a');
  expect((await post(server.port, `/${run.upload}/d`, 'x')).status).toBe(200);
  expect((await post(server.port, `/${run.upload}/e`, 'x')).status).toBe(429);
});

it('those on their way count as well, and one that breaks off leaves nothing', async () => {
  const server = await newServer();
  const run = server.openRun({ maxWaiting: 2 });
  const slow = [await begin(server, `/${run.upload}/a`, 1000), await begin(server, `/${run.upload}/b`, 1000)];
  expect((await post(server.port, `/${run.upload}/c`, 'x')).status).toBe(429);
  for (const one of slow) one.destroy();
  await expect.poll(async () => (await post(server.port, `/${run.upload}/c`, 'x')).status).toBe(200);
  for (const name of ['a', 'b']) expect(() => run.take(name)).toThrow('did not upload it');
  expect(server.notes).toEqual([]);
});

it('an upload that is under way when its run or the server ends leaves nothing', async () => {
  const before = folders();
  const server = await newServer();
  const run = server.openRun();
  const slow = await begin(server, `/${run.upload}/a`, 1_000_000);
  const over = new Promise((closed) => {
    slow.on('close', closed);
  });
  run.close();
  slow.end(Buffer.alloc(999_997));
  await over;
  expect(folders()).toEqual(before);
  const late = server.openRun();
  const cut = await begin(server, `/${late.upload}/a`, 1000);
  const gone = new Promise((closed) => {
    cut.on('close', closed);
  });
  await server.close();
  await gone;
  expect(folders()).toEqual(before);
});

it('whoever sends without being asked gets an answer and no place', async () => {
  const server = await newServer();
  // curl asks first; a refusal comes before the body.
  expect(
    await sendRaw(
      server.port,
      `POST /result/x HTTP/1.1\r\nHost: localhost:${server.port}\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n`,
    ),
  ).toMatch(/^HTTP\/1\.1 404 /);
  expect(
    await sendRaw(
      server.port,
      `POST /result/x HTTP/1.1\r\nHost: localhost:${server.port}\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(1000)}`,
      'wait',
    ),
  ).toMatch(/^HTTP\/1\.1 404 [^]*connection: close/i);
});
