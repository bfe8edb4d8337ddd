// The page's end of a rank, with a worker that is none: which of its events arrive.

import { expect, test } from 'vitest';
import { RankHost } from '../../src/app/training/rank-host.ts';
import type { RankWorker } from '../../src/app/training/rank-host.ts';
import type { RankEvent, RankSetup } from '../../workers/protocol.ts';

const SETUP: RankSetup = { rank: 0, run: 1, view: 1, wantGradients: false, wantModel: false, stays: true };
const DONE: RankEvent = { kind: 'done', steps: 1, from: 0, stopped: false };
const FAILED: RankEvent = { kind: 'failed', name: 'PeerError', message: 'rank 1 closed' };

/**
 * A host whose rank is what the test does with its port; `end` lets the call return whether it serves another, `crash`
 * is what a worker that dies does.
 */
function hosted() {
  let end = (_serves = true): void => {};
  let crash = (_: Error): void => {};
  let port: MessagePort | undefined;
  const api = {
    start: (_: RankSetup, events: MessagePort) => {
      port = events;
      return new Promise<boolean>((resolve) => {
        end = (serves = true) => resolve(serves);
      });
    },
    leave: async () => {},
  };
  const worker = {
    host: (heard: typeof crash) => {
      crash = heard;
      return api;
    },
    release: () => port?.close(),
  };
  const host = new RankHost(worker as unknown as RankWorker);
  return {
    host,
    end: (serves?: boolean) => end(serves),
    crash: () => crash(new Error('out of memory')),
    tell: (event: RankEvent) => port!.postMessage(event),
  };
}

/** What was posted before is delivered. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 20);
  });

test('a rank that stays and fails is heard, though its call returns first; not once it is closed', async () => {
  const { host, end, tell } = hosted();
  const told: string[] = [];
  const started = host.start(SETUP, ({ kind }) => told.push(kind));
  tell(DONE);
  await started;
  end();
  await turn();
  tell(FAILED);
  await turn();
  expect(told).toEqual(['done', 'failed']);
  host.close();
  tell(FAILED);
  await turn();
  expect(told).toEqual(['done', 'failed']);
});

test.each([
  [DONE, true],
  [FAILED, true],
  [FAILED, false],
])('a host serves another run once the last, %o, is over, if its rank says so: %s', async (last, serves) => {
  const { host, end, tell } = hosted();
  expect(await host.ready()).toBe(true);
  const started = host.start(SETUP, () => undefined);
  expect(await host.ready(1)).toBe(false);
  tell(last);
  await started;
  // Something of it is still under way.
  expect(await host.ready(1)).toBe(false);
  const ready = host.ready(60_000);
  end(serves);
  expect(await ready).toBe(serves);
  host.close();
  expect(await host.ready()).toBe(false);
});

test('a worker that has died serves no more, though nobody waited for it', async () => {
  const idle = hosted();
  expect(await idle.host.ready()).toBe(true);
  idle.crash();
  expect(await idle.host.ready()).toBe(false);

  const served = hosted();
  const started = served.host.start(SETUP, () => undefined);
  served.tell(DONE);
  await started;
  served.end();
  expect(await served.host.ready(60_000)).toBe(true);
  served.crash();
  expect(await served.host.ready(60_000)).toBe(false);
});
