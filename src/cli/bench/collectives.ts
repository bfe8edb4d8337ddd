// `tabmesh bench collectives`: the page collectives.html in headless Chromium, one tab per rank. The first tab is rank
// 0, runs the bench and reports; this process only opens and watches them.

import { writeFileSync } from 'node:fs';
import type { Browser } from 'playwright-core';
import { AbortedError, ConfigError, TabmeshError } from '../../base/errors.ts';
import { formatLink, MOST_TABS, PEER_NAMES, transportOf } from '../../bench/collectives/link.ts';
import type { CollectivesSettings } from '../../bench/collectives/link.ts';
import { selectable } from '../../bench/collectives/conductor.ts';
import { ALIGN, cellsOf, COLUMNS, summarise } from '../../bench/collectives/collectives-report.ts';
import type {
  CollectiveResult,
  CollectivesEvent,
  CollectivesReport,
} from '../../bench/collectives/collectives-report.ts';
import { parseSizes, sizeName } from '../../bench/collectives/sizes.ts';
import { table } from '../../bench/bench-report.ts';
import { openBoth } from '../chromium.ts';
import type { CommandIo } from '../command.ts';
import { parseOptions } from '../options.ts';
import { COLLECTIVES_OPTIONS } from './collectives-options.ts';

const ROOM = 'command';

export async function collectives(args: readonly string[], io: CommandIo): Promise<number> {
  const { options } = parseOptions(args, COLLECTIVES_OPTIONS);
  const { tabs, sizes, only, peers, transport, rounds, tune, json } = options;
  if (!(tabs >= 2 && tabs <= MOST_TABS)) throw new ConfigError('--tabs', `expected 2 to ${MOST_TABS}, got ${tabs}`);
  if (!(tune >= 0 && tune <= 60)) throw new ConfigError('--tune', `expected 0 to 60 seconds, got ${tune}`);
  const settings: CollectivesSettings = {
    tabs,
    sizes: parseSizes(sizes),
    only: selectable(only),
    peers: peers ? PEER_NAMES : [],
    transport: transportOf(transport, '--transport'),
    rounds,
    tuneMs: Math.round(1000 * tune),
    frames: false,
    meet: 'browser',
  };
  const { report, version } = await benchInTabs(settings, io);
  const whole: CollectivesReport = { ...report, browser: version };
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(whole, null, 2)}\n`);
  io.out(`adapter: ${whole.adapter}`);
  io.out(`browser: ${whole.browser}, ${tabs} tabs, links: ${whole.links.join(', ')}`);
  io.out('');
  for (const line of table(ALIGN, COLUMNS, whole.results.map(cellsOf))) io.out(line);
  io.out('');
  for (const line of summarise(whole)) io.out(line);
  // What others send wrongly is told, and theirs.
  return whole.results.some(({ library, wrong }) => library === 'tabmesh' && wrong > 0) ? 1 : 0;
}

/**
 * Rejects with AbortedError on Ctrl-C, and with a sentence when the browser or a tab dies. `onBrowser`: for tests that
 * kill it.
 */
export async function benchInTabs(
  settings: CollectivesSettings,
  io: Pick<CommandIo, 'err' | 'signal'>,
  onBrowser: (browser: Browser) => void = () => undefined,
): Promise<{ readonly report: CollectivesReport; readonly version: string }> {
  const { server, browser } = await openBoth(io.err);
  const stop = (): void => {
    void browser.close();
  };
  io.signal.addEventListener('abort', stop, { once: true });
  try {
    if (io.signal.aborted) throw new AbortedError();
    const report = await watch(settings, server.url, browser, io, onBrowser);
    return { report, version: `Chromium ${browser.version()}` };
  } catch (error) {
    if (io.signal.aborted) throw new AbortedError();
    throw /has been closed|Target closed|crashed/i.test(String(error)) && !(error instanceof TabmeshError)
      ? new TabmeshError('the browser was closed before the bench had ended')
      : error;
  } finally {
    io.signal.removeEventListener('abort', stop);
    await browser.close();
    await server.close();
  }
}

async function watch(
  settings: CollectivesSettings,
  url: string,
  browser: Browser,
  io: Pick<CommandIo, 'err'>,
  onBrowser: (browser: Browser) => void,
): Promise<CollectivesReport> {
  // One context: its tabs share a BroadcastChannel.
  const context = await browser.newContext();
  return new Promise<CollectivesReport>((resolve, reject) => {
    browser.on('disconnected', () => reject(new TabmeshError('the browser died before the bench had ended')));
    const take = (text: string): void => {
      const event = JSON.parse(text) as CollectivesEvent;
      if (event.kind === 'status') io.err(event.total ? `${event.done} of ${event.total}: ${event.text}` : event.text);
      else if (event.kind === 'rows') for (const row of event.rows) io.err(`  ${rowLine(row)}`);
      else if (event.kind === 'done') resolve(event.report);
      else reject(new TabmeshError(event.text));
    };
    const open = async (): Promise<void> => {
      for (let rank = settings.tabs - 1; rank >= 0; rank--) {
        const page = await context.newPage();
        page.on('crash', () =>
          reject(new TabmeshError('a tab of the bench crashed; smaller --sizes may fit into memory')),
        );
        page.on('pageerror', (error) => reject(new TabmeshError(`a tab of the bench failed: ${error.message}`)));
        if (rank > 0) {
          await page.goto(`${url}collectives.html#join=${ROOM}`);
          continue;
        }
        await page.exposeFunction('collectivesReport', take);
        await page.goto(`${url}collectives.html#${formatLink(settings, { start: true, room: ROOM })}`);
      }
      onBrowser(browser);
    };
    open().catch(reject);
  });
}

/** 'all-reduce 4 MiB: tabmesh 33.1 ms, busbw 25.3 MB/s, 88 % of the pipe'. */
function rowLine({ collective, bytes, library, medianMs, busbw, ofPipe, wrong }: CollectiveResult): string {
  return `${collective} ${sizeName(bytes)}: ${library} ${medianMs.toPrecision(3)} ms${bytes > 0 ? `, busbw ${busbw.toPrecision(3)} MB/s` : ''}${ofPipe === null ? '' : `, ${Math.round(100 * ofPipe)} % of the pipe`}${wrong ? `, ${wrong} WRONG` : ''}`;
}
