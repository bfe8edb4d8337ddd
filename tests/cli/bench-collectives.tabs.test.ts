// `tabmesh bench collectives` in real tabs from the command line to the JSON file, beside the other libraries, and what
// it says when a tab or the browser dies. No test asserts a time.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, expect, it } from 'vitest';
import { selectable } from '../../src/bench/collectives/conductor.ts';
import type { CollectivesReport } from '../../src/bench/collectives/collectives-report.ts';
import { benchInTabs } from '../../src/cli/bench/collectives.ts';
import { run } from '../../src/cli/main.ts';
import { alsoTest, sample } from '../support/sample.ts';

const folder = mkdtempSync(join(tmpdir(), 'tabmesh-collectives-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SETTINGS = {
  tabs: 2,
  sizes: [4096],
  only: selectable(undefined),
  peers: [],
  transport: 'webrtc' as const,
  rounds: 1,
  tuneMs: 0,
  frames: false,
  meet: 'browser' as const,
};

it('two tabs: a row for each collective, size and library, all exact, as JSON and as a table', async () => {
  const [out, err]: string[][] = [[], []];
  const json = join(folder, 'report.json');
  const code = await run(
    ['bench', 'collectives', '--tabs', '2', '--sizes', '0,4KiB,1MiB', '--rounds', '1', '--peers', '--json', json],
    {
      out: (line) => out.push(line),
      err: (line) => err.push(line),
      signal: new AbortController().signal,
      interactive: false,
      columns: 120,
    },
  );
  const report = JSON.parse(readFileSync(json, 'utf8')) as CollectivesReport;
  expect(report).toMatchObject({
    adapter: expect.stringMatching(/\w/),
    browser: expect.stringMatching(/^Chromium \d/),
    date: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    ranks: 2,
    links: ['webrtc worker'],
    missing: [],
  });
  const own = report.results.filter(({ library }) => library === 'tabmesh');
  const three = (name: string): string[] => [0, 4096, 1048576].map((bytes) => `${name} ${bytes}`);
  expect(own.map(({ collective, bytes }) => `${collective} ${bytes}`)).toEqual([
    ...[
      'send',
      'ring-send',
      'ring-send-both',
      'broadcast',
      'scatter',
      'gather',
      'all-gather',
      'reduce-scatter',
      'all-reduce',
      'all-to-all',
    ].flatMap(three),
    'barrier 0',
    'transfer 4096',
    'transfer 1048576',
    'gpu-to-gpu 1048576',
    'gpu-to-gpu-naive 1048576',
  ]);
  expect(
    report.results
      .filter(({ library }) => library !== 'tabmesh')
      .map(({ library, collective, bytes }) => `${library} ${collective} ${bytes}`),
  ).toEqual(
    [4096, 1048576].flatMap((bytes) =>
      ['simple-peer', 'peerjs', 'trystero'].map((library) => `${library} transfer ${bytes}`),
    ),
  );
  for (const row of report.results) {
    expect(row, `${row.library} ${row.collective}`).toMatchObject({
      ranks: 2,
      wrong: 0,
      medianMs: expect.any(Number),
      algbw: expect.any(Number),
      busbw: expect.any(Number),
      rawPipe: expect.any(Number),
    });
    expect(row.busbw > 0).toBe(row.bytes > 0);
  }
  expect(report.latency).toMatchObject({ bytes: 4096, ratio: expect.any(Number) });
  expect(out.filter((line) => /^(all-reduce|gpu-to-gpu) +1 MiB +tabmesh /.test(line))).toHaveLength(2);
  expect(out.at(-1)).toBe('every element of every result was exactly right');
  expect(err.some((line) => line.startsWith('  all-reduce 1 MiB: tabmesh '))).toBe(true);
  expect(code).toBe(0);
});

it.each(
  sample(
    [
      ['broadcast', 'broadcast-channel'],
      ['ports', 'same browser'],
    ] as const,
    1,
  ),
)('two tabs, links over %s: all exact, beside bare data channels', async (transport, links) => {
  const { report } = await benchInTabs(
    { ...SETTINGS, sizes: [65536], only: ['all-reduce', 'barrier'], transport },
    { err: () => undefined, signal: new AbortController().signal },
  );
  expect(report).toMatchObject({ ranks: 2, links: [links] });
  expect(
    report.results.map(({ collective, bytes, wrong, rawPipe }) => [collective, bytes, wrong, rawPipe > 0]),
  ).toEqual([
    ['all-reduce', 65536, 0, true],
    ['barrier', 0, 0, false],
  ]);
});

it.each(
  sample<readonly [string, (browser: Browser) => Promise<void>, RegExp]>(
    [
      [
        'a tab is closed',
        async (browser) => {
          await browser.contexts()[0].pages()[0].close();
        },
        /rank 1 (closed|left)/,
      ],
      ['the browser dies', (browser) => browser.close(), /the browser (died|was closed) before the bench had ended/],
    ],
    1,
  ),
)('%s midway: one sentence, and no more', async (_, kill, sentence) => {
  let browser: Browser | undefined;
  let killed: Promise<void> | undefined;
  const err = (line: string): void => {
    if (browser && !killed && line.includes('all-reduce')) killed = kill(browser);
  };
  const running = benchInTabs(
    { ...SETTINGS, sizes: [16 * 1024 * 1024], only: ['all-reduce'] },
    { err, signal: new AbortController().signal },
    (opened) => {
      browser = opened;
    },
  );
  await expect(running).rejects.toThrow(sentence);
  await killed;
});

alsoTest('Ctrl-C ends it with exit code 130', async () => {
  const stop = new AbortController();
  const err = (line: string): void => {
    if (line.includes('send')) stop.abort();
  };
  expect(
    await run(['bench', 'collectives', '--only', 'send,barrier', '--sizes', '4KiB', '--rounds', '1'], {
      out: () => {},
      err,
      signal: stop.signal,
      interactive: false,
      columns: 80,
    }),
  ).toBe(130);
});

it.each([
  [['--tabs', '1'], '--tabs: expected 2 to 8, got 1'],
  [['--sizes', '4KB'], '--sizes: expected sizes like 0,4KiB,1MiB'],
  [['--only', 'allreduce'], "got 'allreduce'"],
  [['--transport', 'tcp'], '--transport: expected webrtc, ports, broadcast'],
  [['--size', '4'], '--size: unknown option'],
])('%j is refused with exit code 2', async (args, sentence) => {
  const lines: string[] = [];
  const say = (line: string): void => {
    lines.push(line);
  };
  expect(
    await run(['bench', 'collectives', ...args], {
      out: say,
      err: say,
      signal: new AbortController().signal,
      interactive: false,
      columns: 80,
    }),
  ).toBe(2);
  expect(lines[0]).toContain(sentence);
});
