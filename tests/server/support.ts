// A page server over a small folder instead of the real build, and bytes sent to it as they are.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders, RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPageServer } from '../../src/server/page-server.ts';
import type { PageServer, PageServerOptions } from '../../src/server/page-server.ts';

const cleanUp: (() => unknown)[] = [];

export async function stopServers(): Promise<void> {
  for (const clean of cleanUp.splice(0).reverse()) await clean();
}

export const HASHED = 'assets/part-AbCd_-12.js';

/** A folder like a build; removed by `stopServers`. */
export function pagesFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tabmesh-pages-'));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'assets'));
  writeFileSync(join(folder, 'index.html'), '<!doctype html><title>page</title>');
  writeFileSync(join(folder, HASHED), 'export default 1;');
  writeFileSync(join(folder, '.stamp'), 'secret');
  writeFileSync(`${folder}.secret`, 'secret');
  cleanUp.push(() => rmSync(`${folder}.secret`, { force: true }));
  return folder;
}

export async function newServer(
  options: PageServerOptions = {},
): Promise<PageServer & { readonly notes: readonly string[]; readonly port: number }> {
  const notes: string[] = [];
  const server = await startPageServer({ pages: pagesFolder(), onNote: (note) => notes.push(note), ...options });
  cleanUp.push(() => server.close());
  return Object.assign(server, { notes, port: Number(new URL(server.url).port) });
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A path goes out as it is written. */
export function ask(port: number, path: string, options: RequestOptions = {}, body?: Buffer | string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: 'localhost', path, agent: false, ...options }, (response) => {
      let text = '';
      response.on('data', (part: Buffer) => {
        text += part.toString();
      });
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Sends bytes and resolves to all that comes back until the other end closes. `end`: what to do after sending. */
export function sendRaw(
  port: number,
  text: string | Buffer,
  end: 'wait' | 'finish' | 'reset' = 'finish',
): Promise<string> {
  return new Promise((resolve) => {
    let got = '';
    const socket = connect(port, 'localhost', () => {
      socket.write(text, () => {
        if (end === 'finish') socket.end();
        else if (end === 'reset') socket.resetAndDestroy();
      });
    });
    socket.on('data', (part: Buffer) => {
      got += part.toString('latin1');
    });
    socket.on('error', () => {
      /* the other end may close while we send */
    });
    socket.on('close', () => resolve(got));
  });
}
