// Who may ask, as browsers and proxies say it: Host and Origin in all the forms in which they arrive.

import { expect, it } from 'vitest';
import { hostsOf } from '../../src/cli/commands/serve.ts';
import { HostRule } from '../../src/server/host-rule.ts';

const told = new HostRule(hostsOf('tabmesh.example.org, .lab.example.net, 203.0.113.7, Büro.example'));
const alone = new HostRule();
const status = (rule: HostRule, host: string | undefined, origin?: string, site?: string, personal = false): number =>
  rule.refuse(
    { host, ...(origin === undefined ? {} : { origin }), ...(site === undefined ? {} : { 'sec-fetch-site': site }) },
    personal,
  )?.status ?? 200;

it.each([
  'localhost',
  'localhost:8080',
  'LOCALHOST:8080',
  'localhost.',
  'localhost.:8080',
  'tabs.localhost:1',
  '127.0.0.1',
  '127.0.0.1:65535',
  '192.168.1.20:8080',
  '[::1]',
  '[::1]:8080',
  '[FE80:0:0:0:0:0:0:1]:80',
])('Host %s is this server', (host) => {
  expect(status(alone, host)).toBe(200);
});

it.each([
  'evil.example',
  'evil.example:8080',
  'tabmesh.example.org',
  'localhost.evil.example',
  'evil-localhost',
  'notlocalhost',
  '127.0.0.1.evil.example',
  'xn--e1afmkfd',
])('Host %s is not', (host) => {
  expect(status(alone, host)).toBe(403);
});

it.each([
  undefined,
  '',
  ' ',
  ':80',
  'a b',
  'a/b',
  'user@localhost',
  'localhost:99999',
  'localhost:',
  'localhost:8a',
  '[::1',
  '[::1]x',
  '[zz]',
  'a..b',
  '.',
  'localhost#x',
  'localhost?x',
  '300.1.1.1',
  '1.2.3.4.5',
])('Host %s is none', (host) => {
  expect(status(alone, host)).toBe(400);
});

it.each([
  ['tabmesh.example.org', 200],
  ['Tabmesh.Example.Org.', 200],
  ['tabmesh.example.org:443', 200],
  ['a.tabmesh.example.org', 403],
  ['example.org', 403],
  ['tabmesh.example.org.evil.example', 403],
  ['lab.example.net', 200],
  ['a.lab.example.net', 200],
  ['a.b.lab.example.net:8443', 200],
  ['evillab.example.net', 403],
  ['xn--bro-hoa.example', 200],
])('with --allow-host, Host %s gets %i', (host, expected) => {
  expect(status(told, host)).toBe(expected);
});

it.each([
  // The default port of the scheme may be left out on either side; a proxy that ends https speaks http to us.
  ['http://localhost:8080', 'localhost:8080'],
  ['HTTP://LocalHost:8080', 'localhost:8080'],
  ['http://localhost', 'localhost:80'],
  ['http://localhost:80', 'localhost'],
  ['https://localhost', 'localhost:443'],
  ['http://[::1]:8080', '[0:0::1]:8080'],
  ['http://localhost.:8080', 'localhost.:8080'],
  ['https://192.168.1.20', '192.168.1.20'],
])('a page of %s may ask %s', (origin, host) => {
  expect([status(alone, host, origin), status(alone, host, origin, 'same-origin', true)]).toEqual([200, 200]);
});

it.each([
  ['https://evil.example', 'localhost:8080'],
  ['null', 'localhost:8080'],
  ['', 'localhost:8080'],
  ['file://', 'localhost:8080'],
  ['http://localhost:3000', 'localhost:8080'],
  ['http://localhost', 'localhost:8080'],
  ['http://127.0.0.1:8080', 'localhost:8080'],
  ['https://localhost', 'localhost:80'],
  ['http://localhost:8080/', 'localhost:8080'],
  ['http://evil.example@localhost:8080', 'localhost:8080'],
  ['chrome-extension://abcdef', 'localhost:8080'],
  ['http://localhost:8080, http://evil.example', 'localhost:8080'],
  ['https://tabmesh.example.org', '127.0.0.1:8080'],
])('a page of %s may not ask %s', (origin, host) => {
  expect(status(alone, host, origin)).toBe(403);
});

it.each([
  // As the proxy passes Host on, and as one that rewrites it.
  ['https://tabmesh.example.org', 'tabmesh.example.org'],
  ['https://tabmesh.example.org', 'tabmesh.example.org:443'],
  ['https://tabmesh.example.org:8443', 'tabmesh.example.org'],
  ['http://tabmesh.example.org', 'tabmesh.example.org:80'],
  ['https://Tabmesh.Example.Org', 'localhost:8080'],
  ['https://tabmesh.example.org', '127.0.0.1:8080'],
  ['https://a.lab.example.net', '[::1]:8080'],
  ['https://203.0.113.7', '127.0.0.1:8080'],
])('with --allow-host, a page of %s may ask %s', (origin, host) => {
  expect(status(told, host, origin)).toBe(200);
});

it('another name is refused whatever Host says, and told how', () => {
  for (const host of ['127.0.0.1:8080', 'tabmesh.example.org'])
    expect(status(told, host, 'https://evil.example')).toBe(403);
  expect(told.refuse({ host: '127.0.0.1:8080', origin: 'https://other.example:444' }, false)?.reason).toMatch(
    /^Origin other\.example:444 is not this server.*start it with --allow-host other\.example$/,
  );
  // A name is told for all ports, so it is no way to let in another page of this machine.
  expect(alone.refuse({ host: 'localhost:8080', origin: 'http://localhost:1' }, false)?.reason).toBe(
    'Origin localhost:1 is not this server, which was asked as localhost:8080; open the page of this server',
  );
  expect(alone.refuse({ host: 'Other.Example' }, false)?.reason).toMatch(/start it with --allow-host other\.example$/);
});

it('X-Forwarded-Host is not believed', () => {
  const headers = {
    host: '127.0.0.1:8080',
    origin: 'https://evil.example',
    'x-forwarded-host': 'evil.example',
    forwarded: 'host=evil.example',
  };
  expect(alone.refuse(headers, false)?.status).toBe(403);
});

it('what is personal is for pages of this server, also where a browser sends no Origin', () => {
  for (const site of ['cross-site', 'same-site'])
    expect([status(alone, 'localhost', undefined, site, true), status(alone, 'localhost', undefined, site)]).toEqual([
      403, 200,
    ]);
  for (const site of ['same-origin', 'none', undefined])
    expect(status(alone, 'localhost', undefined, site, true)).toBe(200);
});
