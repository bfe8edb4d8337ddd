// Vite's servers, for whoever works on the pages: for this machine alone, with the broker, and without the client that
// reloads pages.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createServer, preview } from 'vite';
import type { InlineConfig } from 'vite';
import { WebSocket } from 'ws';
import { afterEach, expect, it } from 'vitest';
import { devPlugin } from '../../src/server/pages/dev-plugin.ts';
import { openTestPages } from '../support/test-pages.ts';
import type { TestPages } from '../support/test-pages.ts';

let pages: TestPages | undefined;
afterEach(async () => {
  await pages?.close();
  pages = undefined;
});

const upgrade = (path: string, protocol: string, origin?: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = new WebSocket(
      new URL(path, pages!.url).href.replace(/^http/, 'ws'),
      protocol,
      origin === undefined ? {} : { origin },
    );
    socket.on('error', (error) => resolve(error.message.replace(/^.*: /, '')));
    socket.on('open', () => {
      socket.terminate();
      resolve('open');
    });
  });

it('pages have no client of Vite, the broker keeps to the rule, and there is no socket over which a page could be reloaded', async () => {
  pages = await openTestPages();
  for (const page of ['', 'bench.html', 'collectives.html']) {
    const html = await (await fetch(new URL(page, pages.url), { headers: { accept: 'text/html' } })).text();
    expect(html, page).toContain('src/app/');
    expect(html, page).not.toContain('@vite/client');
  }
  expect(await (await fetch(new URL('ice', pages.url))).json()).toMatchObject({ iceServers: [] });
  expect(
    await Promise.all([
      upgrade('mqtt', 'mqtt'),
      upgrade('mqtt', 'mqtt', 'https://evil.example'),
      upgrade('', 'vite-hmr'),
      upgrade('x', 'mqtt'),
    ]),
  ).toEqual(['open', '403', '404', '404']);
});

it('is refused to other machines, and a preview without a build, in a sentence', async () => {
  const root = mkdtempSync(`${tmpdir()}/tabmesh-dev-`);
  const config: InlineConfig = { root, configFile: false, logLevel: 'silent', plugins: [devPlugin()] };
  for (const host of ['0.0.0.0', '192.0.2.1', true] as const)
    await expect(createServer({ ...config, server: { host } })).rejects.toThrow(
      /^--host: the dev server gives away every file of this checkout.*`tabmesh serve` serves the pages to others$/,
    );
  await expect(preview({ ...config, preview: { port: 0 } })).rejects.toThrow(
    'preview: expected a build in dist, found none; run `npm run build` first',
  );
  rmSync(root, { recursive: true });
});
