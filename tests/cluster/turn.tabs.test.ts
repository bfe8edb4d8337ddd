// Relayed connections for real: two networks that cannot reach each other, coturn and `tabmesh serve` on a machine
// between them, one Chromium in each network. Needs root, network namespaces and coturn (`tabmesh doctor --install`).
// Where one is missing it passes, and says loudly what was not tested.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureChromium, launchOptions } from '../../src/cli/machine/browser.ts';
import { findTurnserver } from '../../src/cli/machine/coturn.ts';
import { pagesConfig } from '../../src/server/pages/config.ts';
import { mintTurnCredentials } from '../../src/server/turn/credentials.ts';
import { Tab, tinyJob } from '../app/page-driver.ts';
import type { Report } from '../app/page-driver.ts';
import { MIDDLE_ADDRESS, NetworkLab } from '../support/network-lab.ts';
import { ROOM_KEY } from './support.ts';
import { alsoTest } from '../support/sample.ts';

const SECRET = 'a secret of the test, 0123456789abcdef';
const TURN = `turn:${MIDDLE_ADDRESS}:3478`;
const SITE = `http://${MIDDLE_ADDRESS}:8080`;

let lab: NetworkLab | undefined;
let browsers: Browser[] = [];
let coturn: { readonly output: () => string };

beforeAll(async () => {
  const turnserver = findTurnserver();
  const made =
    turnserver === undefined
      ? 'coturn is missing (`tabmesh doctor --install` gets it on Debian as root)'
      : NetworkLab.create();
  if (typeof made === 'string') {
    console.error(
      `\n!!! NOT TESTED: connections over a TURN server (relay, wrong and expired credentials, no route), because ${made}\n`,
    );
    return;
  }
  lab = made;
  const [config, secret] = ['turnserver.conf', 'secret'].map((name) => join(made.folder, name));
  writeFileSync(secret!, `${SECRET}\n`);
  writeFileSync(
    config!,
    [
      `listening-ip=${MIDDLE_ADDRESS}`,
      'listening-port=3478',
      `relay-ip=${MIDDLE_ADDRESS}`,
      'min-port=50000',
      'max-port=50200',
      'use-auth-secret',
      `static-auth-secret=${SECRET}`,
      'realm=tabmesh.test',
      'fingerprint',
      'no-tls',
      'no-dtls',
      'no-cli',
      'verbose',
      'simple-log',
      'log-file=stdout',
      `pidfile=${join(made.folder, 'pid')}`,
      `userdb=${join(made.folder, 'turndb')}`,
      '',
    ].join('\n'),
  );
  const program = fileURLToPath(new URL('../../bin/tabmesh.mjs', import.meta.url));
  const pages = await buildPages(join(made.folder, 'pages'));
  [coturn] = await Promise.all([
    made.start('middle', turnserver!, ['-c', config!], /UDP listener opened on: 10\.91\.0\.1:3478/i),
    made.start(
      'middle',
      process.execPath,
      [program, 'serve', '--port', '8080', '--pages', pages, '--turn', TURN, '--turn-secret-file', secret!],
      /Ctrl-C stops/,
    ),
  ]);
  browsers = await Promise.all(
    (['left', 'right'] as const).map((place) => {
      const options = launchOptions(made.wrapper(place, ensureChromium(console.log)));
      // The page is served over http here; hidden addresses would end each attempt at a name that cannot resolve,
      // before any packet is sent.
      return chromium.launch({
        ...options,
        args: [
          ...options.args,
          `--unsafely-treat-insecure-origin-as-secure=${SITE}`,
          '--disable-features=WebRtcHideLocalIpsWithMdns',
        ],
      });
    }),
  );
});

afterAll(async () => {
  try {
    await Promise.all(browsers.map((browser) => browser.close()));
  } finally {
    await lab?.close();
  }
});

/**
 * The training page and this test's own, in `folder`: between the networks there is only what `tabmesh serve` serves.
 */
async function buildPages(folder: string): Promise<string> {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const config = pagesConfig(root);
  const input = ['index.html', 'tests/cluster/room-page.html'].map((page) => join(root, page));
  await build({
    ...config,
    configFile: false,
    envFile: false,
    mode: 'production',
    logLevel: 'error',
    build: {
      ...config.build,
      rolldownOptions: { input },
      outDir: folder,
      emptyOutDir: false,
      reportCompressedSize: false,
    },
  });
  return folder;
}

/** The test's own page in both networks, once it is there to be asked. */
async function openMembers(path: (side: number) => string): Promise<Page[]> {
  const pages = await openBoth(path);
  await Promise.all(pages.map((page) => page.waitForFunction(() => 'member' in window)));
  return pages;
}

/** The same link in both networks. */
async function openBoth(
  path: (side: number) => string,
  before?: (page: Page, side: number) => Promise<void>,
): Promise<Page[]> {
  return Promise.all(
    browsers.map(async (browser, side) => {
      const page = await (await browser.newContext()).newPage();
      await before?.(page, side);
      await page.goto(SITE + path(side));
      return page;
    }),
  );
}

test('two tabs of networks without a route train over TURN, with the credentials that `tabmesh serve` lends', async () => {
  if (!lab) return;
  const tabs: Tab[] = [];
  const pages = await openBoth(
    (side) =>
      `/#room=relayed&key=${ROOM_KEY}&auto=1&backend=cpu&relay=only${side === 0 ? `&world=2&plan=${tinyJob({ steps: 3 })}` : ''}`,
    async (page, side) => {
      const tab = (tabs[side] = new Tab(page));
      await page.exposeFunction('tabmeshReport', (text: string) => tab.take(JSON.parse(text) as Report));
    },
  );
  const ends = await Promise.all(
    tabs.map((tab) => tab.until('the end of the run', ({ event }) => event?.kind === 'done')),
  );
  const [first, second] = tabs.map((tab, side) => tab.losses(ends[side]!.rank!));
  expect(first).toHaveLength(3);
  expect(second).toEqual(first);
  for (const page of pages) {
    const connections = await page.evaluate(() => window.tabmesh!.state['connections']);
    expect(connections).toEqual([
      expect.objectContaining({
        verdict: 'relayed',
        text: expect.stringMatching(/^relayed over the TURN server \(udp to it\)/),
      }),
    ]);
    expect(await page.locator('connection-doctor section').innerText()).toMatch(
      /^connected to rank [01]: relayed over the TURN server/,
    );
  }
  // The server saw both, under names that end with the hour.
  const users = new Set(
    Array.from(coturn.output().matchAll(/user <(\d+):[0-9a-f]{12}>/g), ([, expires]) => Number(expires)),
  );
  for (const expires of users) expect(expires - Date.now() / 1000).toBeGreaterThan(3300);
  expect(users.size).toBeGreaterThan(0);
  expect(coturn.output()).not.toContain(SECRET);
});

const credentials = (secret: string, ttlSeconds: number): string => {
  const { username, credential } = mintTurnCredentials(secret, 'test', Date.now() / 1000 + ttlSeconds);
  return `&${new URLSearchParams({ turnuser: username, turnpass: credential })}`;
};

interface Scenario {
  readonly name: string;
  readonly link: () => string;
  readonly says: RegExp;
  readonly advises: RegExp;
}
const REFUSED = {
  says: /TURN server turn:10\.91\.0\.1:3478\S* answered 401: credentials wrong or expired/,
  advises: /correct turnuser and turnpass/,
};
const SCENARIOS: readonly Scenario[] = [
  {
    name: 'wrong-password',
    link: () => `&relay=only&ice=${TURN}${credentials('another secret, 0123456789abcdef', 3600)}`,
    ...REFUSED,
  },
  { name: 'expired', link: () => `&ice=${TURN}${credentials(SECRET, -60)}`, ...REFUSED },
  {
    name: 'no-turn',
    link: () => `&ice=stun:${MIDDLE_ADDRESS}:3478`,
    says: /no route: both sides have host.* candidates only and no pair of \d+ worked: the networks block direct connections/,
    advises: /give a TURN server: .*ice=turn:/,
  },
  {
    name: 'turn-down',
    link: () => `&ice=turn:${MIDDLE_ADDRESS}:3999${credentials(SECRET, 3600)}`,
    says: /TURN server turn:10\.91\.0\.1:3999\S* does not answer/,
    advises: /check its address and that it runs/,
  },
];
// Both ask for the run: which of two tabs that open at once is the coordinator is theirs to decide.
const memberPage =
  (name: string, link: string, more = '') =>
  (side: number): string =>
    `/tests/cluster/room-page.html?carrier=mqtt&n=${side}&worldSize=2${more}#room=${name}&key=${ROOM_KEY}${link}`;

test('credentials in the link, TURN over TCP, direct routes allowed: the relay is found by itself', async () => {
  if (!lab) return;
  const pages = await openMembers(memberPage('tcp', `&ice=${TURN}?transport=tcp${credentials(SECRET, 3600)}`));
  const received = await Promise.all(
    pages.map((page, side) =>
      page.evaluate(
        async (text) =>
          Promise.race([
            window.member.exchange(text),
            window.member.failed().then(({ message }) => {
              throw new Error(message);
            }),
          ]),
        `from ${side}`,
      ),
    ),
  );
  expect(received).toEqual([['from 1'], ['from 0']]);
  for (const page of pages) {
    const [diagnosis] = await page.evaluate(() => window.member.examine());
    expect(diagnosis).toMatchObject({ verdict: 'relayed' });
  }
});

alsoTest('without a usable TURN server both tabs hear why, and what to do', async () => {
  if (!lab) return;
  await Promise.all(
    SCENARIOS.map(async ({ name, link, says, advises }) => {
      const pages = await openMembers(memberPage(name, link(), '&deadlineMs=7000&maxAttempts=1'));
      for (const page of pages) {
        const { message } = await page.evaluate(() => window.member.failed());
        expect(message, name).toMatch(says);
        expect(message, name).toMatch(advises);
        expect(message, name).toMatch(
          /^room: 1 attempts to connect failed: rank 0 \(Tab [01]\) <-> rank 1 \(Tab [01]\): /,
        );
      }
    }),
  );
});
