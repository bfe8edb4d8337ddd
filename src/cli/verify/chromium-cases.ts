// Runs a folder's cases inside headless Chromium: Vite's dev server gives an empty page our modules and the folder's files, the page opens WebGPU
// and runs the same code as Node, and its checks come back one group at a time.

import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { createServer } from 'vite';
import type { Plugin } from 'vite';
import { AbortedError, InternalError } from '../../base/errors.ts';
import type { AdapterInfo } from '../../device/device.ts';
import { ensureChromium, launchOptions } from '../machine/browser.ts';
import type { CaseRun } from './cases.ts';
import type { Check } from './compare.ts';

export interface ChromiumCases extends Pick<CaseRun, 'only' | 'onStatus' | 'onGroup'> {
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly announce: (adapter: AdapterInfo) => void;
}

/** What the page calls back; see page.ts. */
export type PageMessage =
  | { readonly kind: 'adapter'; readonly adapter: AdapterInfo }
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'group'; readonly label: string; readonly checks: readonly Check[]; readonly skipped: number; readonly ms: number };

export interface PageOptions { readonly files: string; readonly only?: string }

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const PAGE = '/verify-cases';

/** Serves the page and the folder's files. */
function folderPlugin(folder: string): Plugin {
  return {
    name: 'tabmesh-verify-cases',
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = request.url?.split('?')[0] ?? '';
        if (path === PAGE) {
          response.setHeader('content-type', 'text/html; charset=utf-8');
          response.end('<!doctype html><title>tabmesh verify</title>');
          return;
        }
        const name = path.startsWith(`${PAGE}/`) ? path.slice(PAGE.length + 1) : '';
        const file = join(folder, name);
        if (!/^[\w.-]+\.(json|safetensors)$/.test(name) || !existsSync(file)) return next();
        response.setHeader('content-type', name.endsWith('.json') ? 'application/json' : 'application/octet-stream');
        createReadStream(file).pipe(response);
      });
    },
  };
}

/** Resolves when all cases are done; rejects as `runCases` does, and if the browser dies. */
export async function runCasesInChromium({ folder, only, signal, announce, onStatus, onGroup }: ChromiumCases): Promise<void> {
  const executable = ensureChromium(onStatus);
  const server = await createServer({
    root: ROOT, configFile: false, envFile: false, publicDir: false, appType: 'custom', logLevel: 'error', clearScreen: false,
    server: { host: '127.0.0.1', port: 0, hmr: false, ws: false, watch: null }, optimizeDeps: { noDiscovery: true, include: [] },
    plugins: [folderPlugin(folder)],
  });
  try {
    await server.listen();
    const address = server.httpServer?.address();
    if (typeof address !== 'object' || address === null) throw new InternalError('the page server has no port');
    const browser = await chromium.launch(launchOptions(executable));
    if (signal.aborted) { await browser.close(); throw new AbortedError(); }
    const stop = (): void => { void browser.close(); };
    signal.addEventListener('abort', stop);
    try {
      const page = await browser.newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => { errors.push(error.message); });
      await page.exposeFunction('reportCases', (message: PageMessage) => {
        if (message.kind === 'adapter') announce(message.adapter);
        else if (message.kind === 'status') onStatus(message.text);
        else onGroup(message.label, message.checks, message.skipped, message.ms);
      });
      await page.goto(`http://127.0.0.1:${address.port}${PAGE}`);
      const options: PageOptions = { files: PAGE, only };
      // As text: a function would be rewritten by the module runner before it reaches the page.
      const failure = await page.evaluate(`import('/src/cli/verify/page.ts').then((module) => module.runCasesInPage(${JSON.stringify(options)}))`);
      if (failure !== undefined || errors.length) throw new InternalError(`the page failed: ${[failure, ...errors].filter(Boolean).join('; ')}`);
    } catch (error) {
      throw signal.aborted ? new AbortedError() : error;
    } finally {
      signal.removeEventListener('abort', stop);
      await browser.close();
    }
  } finally {
    await server.close();
  }
}
