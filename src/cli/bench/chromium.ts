// Runs a bench in an empty page of headless Chromium: Vite's dev server gives it our modules and the training text. TensorFlow.js is many small CommonJS
// and ES modules, so it is bundled before the page asks, and only when it is wanted.

import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { createServer } from 'vite';
import type { Plugin } from 'vite';
import { AbortedError, InternalError, TabmeshError } from '../../base/errors.ts';
import { ensureChromium, launchOptions } from '../machine/browser.ts';
import { MOBY_DICK_PATH, mobyDickPlugin } from '../moby-dick-plugin.ts';
import type { Answers, Requests } from './work.ts';

export interface PageBench<K extends keyof Requests> {
  readonly name: K;
  readonly request: Requests[K];
  /** Whether other libraries are needed. */
  readonly peers: boolean;
  /** As in page.ts. */
  readonly tuneMs: number | null;
  readonly onStatus: (text: string) => void;
  readonly signal: AbortSignal;
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const PAGE = '/bench-page';
const PEER_MODULES = ['@tensorflow/tfjs-core', '@tensorflow/tfjs-core/dist/register_all_gradients', '@tensorflow/tfjs-backend-webgpu'];
const TEXT_URL = `/${MOBY_DICK_PATH}`;

const pagePlugin: Plugin = {
  name: 'tabmesh-bench-page',
  configureServer(server) {
    server.middlewares.use(PAGE, (_request, response) => {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.end('<!doctype html><title>tabmesh bench</title>');
    });
  },
};

/** Resolves to the bench's answer and the browser's version. */
export async function benchInChromium<K extends keyof Requests>({ name, request, peers, tuneMs, onStatus, signal }: PageBench<K>): Promise<{ readonly measured: Answers[K]; readonly browser: string }> {
  const executable = ensureChromium(onStatus);
  const server = await createServer({
    root: ROOT, configFile: false, envFile: false, publicDir: false, appType: 'custom', logLevel: 'error', clearScreen: false, cacheDir: `${ROOT}node_modules/.vite-bench`,
    server: { host: '127.0.0.1', port: 0, hmr: false, ws: false, watch: null }, optimizeDeps: { noDiscovery: true, include: peers ? PEER_MODULES : [] },
    plugins: [pagePlugin, mobyDickPlugin()],
  });
  try {
    await server.listen();
    const address = server.httpServer?.address();
    if (typeof address !== 'object' || address === null) throw new InternalError('the page server has no port');
    const browser = await chromium.launch(launchOptions(executable));
    const stop = (): void => { void browser.close(); };
    signal.addEventListener('abort', stop);
    try {
      const page = await browser.newPage();
      await page.exposeFunction('benchStatus', onStatus);
      await page.goto(`http://127.0.0.1:${address.port}${PAGE}`);
      // As text: a function would be rewritten by the module runner before it reaches the page. Errors come back as words, which is all that is left of them.
      const answer: { measured?: Answers[K]; error?: string } = await page.evaluate(`import('/src/cli/bench/page.ts').then((module) => module.bench(${[name, request, TEXT_URL, tuneMs].map((argument) => JSON.stringify(argument)).join(', ')}, benchStatus))
        .then((measured) => ({ measured }), (error) => ({ error: String(error?.message ?? error) }))`);
      if (answer.measured === undefined) throw new TabmeshError(answer.error ?? 'the page gave no answer');
      return { measured: answer.measured, browser: `Chromium ${browser.version()}` };
    } catch (error) {
      if (signal.aborted) throw new AbortedError();
      // What is left to say of a page that died: there is no more memory, or the GPU process took it along.
      throw /crash|closed/i.test(String(error)) && !(error instanceof TabmeshError) ? new TabmeshError('the page of the bench crashed; a smaller --only or --quick may fit into memory') : error;
    } finally {
      signal.removeEventListener('abort', stop);
      await browser.close();
    }
  } finally {
    await server.close();
  }
}
