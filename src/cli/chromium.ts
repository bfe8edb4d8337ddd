// A run in headless Chromium: one real tab per rank, joined over WebRTC through the embedded MQTT broker, or all ranks
// as workers of one tab. The pages are told what to do by their address and tell what happens through `tabmeshReport`
// (see src/app/training/reporter.ts); results come back by upload.

import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import { worldSize } from '../base/axis.ts';
import { AbortedError, PeerError, ServeError, TabmeshError } from '../base/errors.ts';
import type { Evidence } from '../base/errors.ts';
import { realWorld } from '../base/world.ts';
import { formatTimeline, mergeTimeline } from '../collectives/record/timeline.ts';
import { newRoomKey } from '../cluster/seal.ts';
import { neededFiles } from '../train/tasks/registry.ts';
import type { RunFiles } from '../train/prepare.ts';
import { formatRunConfig } from '../train/run-config.ts';
import type { RankEvent } from '../../workers/protocol.ts';
import { ensureChromium, launchOptions, whyNotStarted } from './machine/browser.ts';
import type { Execution } from './execution.ts';
import { startPageServer } from '../server/page-server.ts';
import type { PageServer, PageServerOptions } from '../server/page-server.ts';
import type { RunFiles as ServedRun } from '../server/run-files.ts';

/** The name a folder's model has inside a job, where its path means nothing. */
const FOLDER_MODEL = 'model-folder';

export interface TabReport {
  readonly type: 'session' | 'rank' | 'page';
  readonly rank?: number;
  readonly event?: Record<string, unknown> & { readonly kind?: string; readonly type?: string };
  readonly state?: string;
  readonly text?: string;
}

export interface TabsOptions {
  readonly server: PageServer;
  /** Of `server`; takes what the tabs hand back. */
  readonly run: ServedRun;
  readonly browser: Browser;
  readonly config: Execution['config'];
  readonly files: RunFiles;
  readonly mode: 'tabs' | 'devices';
  readonly wantGradients?: boolean;
  readonly wantModel?: boolean;
  readonly sampleTokens?: number;
  /** Further parts of the address of each tab. */
  readonly parts?: (tab: number) => Readonly<Record<string, string>>;
  /** Called for every report of every tab, in order per tab. */
  readonly onReport: (tab: number, report: TabReport) => void;
}

export interface Tabs {
  /** In order of opening; tabs get their ranks from the room. */
  readonly pages: readonly Page[];
  /** Address with the room's key, for others to watch or join; absent for devices of one tab. */
  readonly roomUrl: string | undefined;
}

/** Opens the tabs of one run; each begins by itself as soon as all are there. */
export async function openTabs(options: TabsOptions): Promise<Tabs> {
  const { server, run, browser, config, files, mode } = options;
  const job = JSON.stringify({
    config: formatRunConfig({ ...config, model: neededFiles(config).model ? FOLDER_MODEL : config.model }),
    files: putFiles(run, files),
    wantGradients: options.wantGradients === true,
    wantModel: options.wantModel === true,
    ...(options.sampleTokens === undefined ? {} : { sampleTokens: options.sampleTokens }),
  });
  const size = worldSize(config.layout);
  const context = await browser.newContext();
  const opener = new Opener();
  const open = async (tab: number, fragment: Record<string, string>): Promise<Page> => {
    const page = await context.newPage();
    await page.exposeBinding('tabmeshReport', (_source, text: string) => {
      const report = JSON.parse(text) as TabReport;
      if (tab === 0) opener.heard(report);
      options.onReport(tab, report);
    });
    page.on('pageerror', (error) => options.onReport(tab, { type: 'page', state: 'error', text: error.message }));
    await page.goto(
      `${server.url}#${new URLSearchParams({ ...fragment, ...options.parts?.(tab), auto: '1', upload: run.upload })}`,
    );
    return page;
  };
  if (mode === 'devices') return { pages: [await open(0, { devices: String(size), plan: job })], roomUrl: undefined };
  const key = newRoomKey(realWorld);
  const room = `run-${Buffer.from(realWorld.randomBytes(6)).toString('hex')}`;
  // The first tab opens the room, as a page does by its button: its rules hold, and whoever comes by the link cannot
  // make others.
  const pages = [await open(0, { room, key, owner: 'self', world: String(size), plan: job })];
  const owner = await opener.identity;
  for (let tab = 1; tab < size; tab++) pages.push(await open(tab, { room, key, owner }));
  return { pages, roomUrl: `${server.url}#${new URLSearchParams({ room, key, owner })}` };
}

/** Hears from the first tab which identity it has. */
class Opener {
  /** Rejects with TabmeshError when the page says an error before. */
  readonly identity: Promise<string>;
  #settle!: { resolve: (id: string) => void; reject: (error: Error) => void };

  constructor() {
    this.identity = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.identity.catch(() => {
      /* thrown where it is awaited */
    });
  }

  heard({ type, state, text = '' }: TabReport): void {
    if (type !== 'page') return;
    if (state === 'identity') this.#settle.resolve(text);
    if (state === 'error') this.#settle.reject(new TabmeshError(`tab 0: ${text}`));
  }
}

function putFiles(run: ServedRun, files: RunFiles): Record<string, string> {
  const addresses: Record<string, string> = {};
  for (const [name, content] of Object.entries(files))
    if (content !== undefined) addresses[name] = run.put(name, content);
  return addresses;
}

/**
 * Turns the reports of all tabs into the events of an Execution. Settles when all ranks are done or the first one
 * failed.
 */
export class ReportSink {
  readonly finished: Promise<void>;
  #settle!: { resolve: () => void; reject: (error: Error) => void };
  readonly #done = new Set<number>();
  readonly #size: number;
  readonly #run: ServedRun;
  readonly #onEvent: Execution['onEvent'];
  readonly #onStatus: ((text: string) => void) | undefined;
  readonly #onTimeline: Execution['onTimeline'];
  #failed = false;

  constructor(
    size: number,
    run: ServedRun,
    onEvent: Execution['onEvent'],
    onStatus?: (text: string) => void,
    onTimeline?: Execution['onTimeline'],
  ) {
    this.#onTimeline = onTimeline;
    this.#size = size;
    this.#run = run;
    this.#onEvent = onEvent;
    this.#onStatus = onStatus;
    this.finished = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.finished.catch(() => {
      /* thrown where it is awaited */
    });
  }

  /** Never throws: it is called by the page, which could not end the run. */
  readonly take = (tab: number, report: TabReport): void => {
    try {
      this.#take(tab, report);
    } catch (error) {
      this.#settle.reject(error instanceof Error ? error : new TabmeshError(String(error)));
    }
  };

  #take(tab: number, report: TabReport): void {
    if (report.type === 'page') {
      if (report.state === 'error') this.#settle.reject(new TabmeshError(`tab ${tab}: ${report.text}`));
    } else if (report.type === 'session') {
      const { type, text, error } = report.event as { type: string; text?: string; error?: { message: string } };
      if (type === 'status' && tab === 0 && text) this.#onStatus?.(text);
      if (type === 'failed') this.#settle.reject(new TabmeshError(`tab ${tab}: ${error?.message}`));
    } else this.#onRank(report.rank!, report.event as unknown as RankEvent);
  }

  #onRank(rank: number, event: RankEvent): void {
    if (event.kind === 'failed') {
      if (!this.#failed && event.flight) this.#onTimeline?.(formatTimeline(mergeTimeline([event.flight])));
      this.#failed = true;
      const error =
        event.culprit === undefined
          ? new TabmeshError(`rank ${rank}: ${event.message}`)
          : new PeerError(event.culprit, event.evidence as Evidence, event.message.replace(/^rank \d+ [\w-]+: /, ''));
      this.#settle.reject(error);
    } else if (
      event.kind === 'links' ||
      event.kind === 'progress' ||
      event.kind === 'file' ||
      event.kind === 'download'
    )
      return;
    else if ('bytes' in event)
      this.#onEvent(rank, { ...event, bytes: this.#run.take(`${event.kind}-${'step' in event ? event.step : 0}`) });
    else this.#onEvent(rank, event);
    if (event.kind !== 'done') return;
    this.#done.add(rank);
    if (this.#done.size === this.#size) this.#settle.resolve();
  }
}

/** Starts Chromium, or says in a sentence why it does not start. */
export async function launchChromium(say: (line: string) => void, headless = true): Promise<Browser> {
  const executable = ensureChromium(say);
  try {
    // The command line hears the signals, and closes the browser when it has what the tabs hand over.
    return await chromium.launch({
      ...launchOptions(executable, headless),
      handleSIGINT: false,
      handleSIGTERM: false,
      handleSIGHUP: false,
    });
  } catch (error) {
    throw new ServeError(whyNotStarted(executable, headless, error instanceof Error ? error.message : String(error)), {
      cause: error,
    });
  }
}

/** A page server and a browser; neither is left behind when the other does not start. */
export async function openBoth(
  say: (line: string) => void,
  options: PageServerOptions = {},
  headless = true,
): Promise<{ readonly server: PageServer; readonly browser: Browser }> {
  const server = await startPageServer({ onStatus: say, ...options });
  try {
    return { server, browser: await launchChromium(say, headless) };
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** Asks all ranks, through the tabs' own Stop, to end after their step and to hand over a checkpoint. */
export async function stopTabs(pages: readonly Page[]): Promise<void> {
  // A tab that is gone ends the run by itself.
  await Promise.all(
    pages.map((page) =>
      page
        .evaluate(() => {
          (globalThis as { tabmesh?: { stop(): void } }).tabmesh?.stop();
        })
        .catch(() => undefined),
    ),
  );
}

/** `device`: what the tabs compute on. */
export async function runInChromium(execution: Execution, device: 'webgpu' | 'wasm' | 'auto'): Promise<void> {
  const { config, mode, onStatus, signal, stop } = execution;
  const { server, browser } = await openBoth((line) => onStatus?.(line));
  const run = server.openRun();
  const closing = new AbortController();
  const close = (): void => {
    closing.abort();
    void browser.close();
  };
  let tabs: Promise<Tabs> | undefined;
  let training = false;
  const onEvent: Execution['onEvent'] = (rank, event) => {
    training ||= event.kind === 'ready';
    execution.onEvent(rank, event);
  };
  // Before any rank is ready there is nothing to keep.
  const onStop = (): void => {
    if (training && tabs) void tabs.then(({ pages }) => stopTabs(pages));
    else close();
  };
  signal?.addEventListener('abort', close, { once: true });
  stop?.signal.addEventListener('abort', onStop, { once: true });
  try {
    if (stop?.signal.aborted || signal?.aborted) throw new AbortedError();
    const sink = new ReportSink(worldSize(config.layout), run, onEvent, onStatus, execution.onTimeline);
    const gone = new Promise<never>((_, reject) =>
      browser.on('disconnected', () =>
        reject(
          closing.signal.aborted
            ? new AbortedError()
            : new TabmeshError('the browser went away in the middle of the run'),
        ),
      ),
    );
    gone.catch(() => {
      /* the browser is closed on purpose at the end */
    });
    // Over WebRTC, as tabs of several browsers are joined, unless something else is asked for.
    const parts = (tab: number) => ({ backend: device, ...(execution.parts?.(tab) ?? { lane: 'webrtc' }) });
    tabs = openTabs({ ...execution, server, run, browser, config, mode, parts, onReport: sink.take });
    await Promise.race([Promise.all([sink.finished, tabs]), gone]);
  } catch (error) {
    throw closing.signal.aborted ? new AbortedError() : error;
  } finally {
    signal?.removeEventListener('abort', close);
    stop?.signal.removeEventListener('abort', onStop);
    await browser.close();
    await server.close();
  }
}
