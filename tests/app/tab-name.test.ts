// The name of a tab: the copy of a tab that lives is told at once, and a reload waits for its old self, however late
// that ends.

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { hold } from '../../src/app/training/room/identity.ts';

/** A page: its end lets go of its locks and channels. */
class Page {
  static living: Page[] = [];
  static held: { readonly name: string; readonly page: Page }[] = [];
  static queue: { readonly name: string; readonly page: Page; grant(): void }[] = [];
  listeners: { onmessage?: (event: { data: unknown }) => void }[] = [];

  end(): void {
    this.freeze();
    Page.held = Page.held.filter(({ page }) => page !== this);
    for (const one of [...Page.queue]) if (!Page.held.some(({ name }) => name === one.name)) one.grant();
  }

  /** It runs no more, but keeps its locks: as one that a busy browser has yet to end. */
  freeze(): void {
    this.listeners = [];
  }
}

let current: Page;
/** As the next page, with what this browser has. */
function open({ locks = true, channels = true } = {}): Page {
  const page = (current = new Page());
  Page.living.push(page);
  vi.stubGlobal(
    'BroadcastChannel',
    class {
      onmessage?: (event: { data: unknown }) => void;
      constructor() {
        if (!channels) throw new DOMException('refused', 'SecurityError');
        page.listeners.push(this);
      }
      postMessage(data: unknown): void {
        for (const other of Page.living)
          for (const listener of other.listeners)
            if (listener !== this) queueMicrotask(() => listener.onmessage?.({ data }));
      }
      close(): void {
        page.listeners = page.listeners.filter((one) => one !== this);
      }
    },
  );
  vi.stubGlobal('navigator', { locks: locks ? { request: requestFor(page) } : undefined });
  return page;
}

const requestFor =
  (page: Page) =>
  (name: string, { signal }: { signal: AbortSignal }, work: () => unknown) =>
    new Promise((resolve, reject) => {
      const one = {
        name,
        page,
        grant(): void {
          Page.queue = Page.queue.filter((other) => other !== one);
          const result = work();
          if (result === undefined) resolve(undefined);
          else Page.held.push({ name, page });
        },
      };
      signal.addEventListener('abort', () => {
        Page.queue = Page.queue.filter((other) => other !== one);
        reject(new DOMException('aborted', 'AbortError'));
      });
      Page.queue.push(one);
      if (!Page.held.some((other) => other.name === name)) one.grant();
    });

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  Object.assign(Page, { living: [], held: [], queue: [] });
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** What it resolves to within `ms`; undefined if it does not. */
async function within(ms: number, answer: Promise<boolean>): Promise<boolean | undefined> {
  let said: boolean | undefined;
  void answer.then((ours) => {
    said = ours;
  });
  await vi.advanceTimersByTimeAsync(ms);
  return said;
}

it.each([
  ['with locks', {}],
  ['without locks', { locks: false }],
])('%s, the copy of a tab that lives hears of it at once', async (_, has) => {
  open(has);
  expect(await within(600, hold('a'))).toBe(true);
  open(has);
  expect(await within(10, hold('a'))).toBe(false);
  expect(await within(600, hold('b'))).toBe(true);
});

it('a reload has its name again when its old self ends, after 10 s too', async () => {
  const old = open();
  expect(await within(10, hold('a'))).toBe(true);
  old.freeze();
  const fresh = open();
  const again = hold('a');
  expect(await within(10_000, again)).toBeUndefined();
  old.end();
  expect(await within(0, again)).toBe(true);
  // It answers to the name now.
  open();
  expect(await within(300, hold('a'))).toBe(false);
  fresh.end();
  open();
  expect(await within(10, hold('a'))).toBe(true);
});

it('of two that begin at once, one is the copy', async () => {
  open();
  const first = hold('a');
  open();
  const second = hold('a');
  expect(await within(300, first)).toBe(true);
  expect(await within(300, second)).toBe(false);
});

it('a holder that is frozen for good is not waited for', async () => {
  open();
  expect(await within(10, hold('a'))).toBe(true);
  current.freeze();
  open();
  expect(await within(16_000, hold('a'))).toBe(false);
  expect(Page.queue).toEqual([]);
});

it('where there is neither, the name is taken', async () => {
  open({ locks: false, channels: false });
  expect(await within(10, hold('a'))).toBe(true);
});
