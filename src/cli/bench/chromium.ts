// Runs a bench in the empty page of the build (driven.html) in headless Chromium; the server of the pages gives it our
// modules and the training text.

import { AbortedError, TabmeshError } from '../../base/errors.ts';
import type { PeerBackend } from '../../bench/problem.ts';
import { MOBY_DICK_PATH } from '../../server/pages/moby-dick.ts';
import { openBoth } from '../chromium.ts';
import type { Answers, Requests } from './work.ts';

export interface PageBench<K extends keyof Requests> {
  readonly name: K;
  readonly request: Requests[K];
  /** As in page.ts. */
  readonly tuneMs: number | null;
  readonly on: PeerBackend;
  readonly threads: number;
  readonly onStatus: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Resolves to the bench's answer and the browser's version. */
export async function benchInChromium<K extends keyof Requests>({
  name,
  request,
  tuneMs,
  on,
  threads,
  onStatus,
  signal,
}: PageBench<K>): Promise<{ readonly measured: Answers[K]; readonly browser: string }> {
  const { server, browser } = await openBoth(onStatus);
  const stop = (): void => {
    void browser.close();
  };
  signal.addEventListener('abort', stop);
  try {
    if (signal.aborted) throw new AbortedError();
    const page = await browser.newPage();
    await page.exposeFunction('benchStatus', onStatus);
    await page.goto(`${server.url}driven.html`);
    // As text: a function would be rewritten by the module runner before it reaches the page. Errors come back as
    // words, which is all that is left of them.
    const answer: { measured?: Answers[K]; error?: string } =
      await page.evaluate(`driven.bench(${[name, request, MOBY_DICK_PATH, tuneMs, on, threads].map((argument) => JSON.stringify(argument)).join(', ')}, benchStatus)
      .then((measured) => ({ measured }), (error) => ({ error: String(error?.message ?? error) }))`);
    if (answer.measured === undefined) throw new TabmeshError(answer.error ?? 'the page gave no answer');
    return { measured: answer.measured, browser: `Chromium ${browser.version()}` };
  } catch (error) {
    if (signal.aborted) throw new AbortedError();
    // What is left to say of a page that died: there is no more memory, or the GPU process took it along.
    throw /crash|closed/i.test(String(error)) && !(error instanceof TabmeshError)
      ? new TabmeshError('the page of the bench crashed; a smaller --only or --quick may fit into memory')
      : error;
  } finally {
    signal.removeEventListener('abort', stop);
    await browser.close();
    await server.close();
  }
}
