// Who may ask the page server: this machine, and the names that --allow-host tells; a page of another name that resolves to us may not (DNS rebinding).

import { request } from 'node:http';
import { expect, it } from 'vitest';
import { hostsOf } from '../../src/cli/commands/serve.ts';
import { startPageServer } from '../../src/server/page-server.ts';

/** Status of the page when a browser asks for it under `host`. */
function statusFor(url: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request(url, { headers: { host, accept: 'text/html' } }, (response) => { response.resume(); resolve(response.statusCode ?? 0); }).on('error', reject).end();
  });
}

it('answers to its own address and to the names that it was told, and to no other', async () => {
  const server = await startPageServer({ allowedHosts: hostsOf('tabmesh.example.org, .lab.example.net') });
  try {
    const statuses = await Promise.all(['localhost', '127.0.0.1', 'tabmesh.example.org', 'a.lab.example.net', 'evil.example', 'example.org'].map((host) => statusFor(server.url, host)));
    expect(statuses).toEqual([200, 200, 200, 200, 403, 403]);
  } finally {
    await server.close();
  }
});

it.each(['https://tabmesh.example.org', 'a b', 'x..y', 'host:80'])('%s is no name', (text) => { expect(() => hostsOf(text)).toThrow(`--allow-host: expected names like tabmesh.example.org, got '${text}'`); });
it('no names, no spaces', () => { expect([hostsOf(undefined), hostsOf(' a.example , b ')]).toEqual([[], ['a.example', 'b']]); });
