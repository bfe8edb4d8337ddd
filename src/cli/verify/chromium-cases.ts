// Runs a folder's cases inside headless Chromium: the empty page of the build (driven.html) gets the folder's files as
// those of a run, opens WebGPU and runs the same code as Node, and its checks come back one group at a time.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { AbortedError, InternalError } from '../../base/errors.ts';
import type { AdapterInfo } from '../../device/device.ts';
import { openBoth } from '../chromium.ts';
import type { CaseRun } from './cases.ts';
import type { Check } from './compare.ts';

export interface ChromiumCases extends Pick<CaseRun, 'only' | 'onStatus' | 'onGroup'> {
  readonly folder: string;
  /** What the page computes on. */
  readonly on: PageOptions['on'];
  readonly signal: AbortSignal;
  readonly announce: (adapter: AdapterInfo) => void;
}

/** What the page calls back; see page.ts. */
export type PageMessage =
  | { readonly kind: 'adapter'; readonly adapter: AdapterInfo }
  | { readonly kind: 'status'; readonly text: string }
  | {
      readonly kind: 'group';
      readonly label: string;
      readonly checks: readonly Check[];
      readonly skipped: number;
      readonly ms: number;
    };

export interface PageOptions {
  readonly on: 'webgpu' | 'wasm';
  readonly files: string;
  readonly only?: string;
}

/** Resolves when all cases are done; rejects as `runCases` does, and if the browser dies. */
export async function runCasesInChromium({
  folder,
  on,
  only,
  signal,
  announce,
  onStatus,
  onGroup,
}: ChromiumCases): Promise<void> {
  const { server, browser } = await openBoth(onStatus);
  const stop = (): void => {
    void browser.close();
  };
  signal.addEventListener('abort', stop);
  try {
    if (signal.aborted) throw new AbortedError();
    const run = server.openRun();
    for (const name of readdirSync(folder))
      if (/^[\w.-]+\.(json|safetensors)$/.test(name)) run.put(name, { path: join(folder, name) });
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => {
      errors.push(error.message);
    });
    await page.exposeFunction('reportCases', (message: PageMessage) => {
      if (message.kind === 'adapter') announce(message.adapter);
      else if (message.kind === 'status') onStatus(message.text);
      else onGroup(message.label, message.checks, message.skipped, message.ms);
    });
    await page.goto(`${server.url}driven.html`);
    const options: PageOptions = { on, files: run.files, only };
    // As text: a function would be rewritten by the module runner before it reaches the page.
    const failure = await page.evaluate(`driven.runCases(${JSON.stringify(options)})`);
    if (failure !== undefined || errors.length)
      throw new InternalError(`the page failed: ${[failure, ...errors].filter(Boolean).join('; ')}`);
  } catch (error) {
    throw signal.aborted ? new AbortedError() : error;
  } finally {
    signal.removeEventListener('abort', stop);
    await browser.close();
    await server.close();
  }
}
