// The page's end of a rank, with a worker that is none: which of its events arrive.

import { expect, test } from 'vitest';
import { RankHost } from '../../src/app/training/rank-host.ts';
import type { RankWorker } from '../../src/app/training/rank-host.ts';
import type { RankEvent, RankSetup } from '../../workers/protocol.ts';

const SETUP: RankSetup = { rank: 0, run: 1, view: 1, wantGradients: false, wantModel: false, stays: true };
const DONE: RankEvent = { kind: 'done', steps: 1, from: 0, stopped: false };
const FAILED: RankEvent = { kind: 'failed', name: 'PeerError', message: 'rank 1 closed' };

/** A host whose rank is what the test does with its port; `end` lets the call return. */
function hosted() {
  let end = (): void => {};
  let port: MessagePort | undefined;
  const api = {
    start: (_: RankSetup, events: MessagePort) => {
      port = events;
      return new Promise<void>((resolve) => {
        end = resolve;
      });
    },
    leave: async () => {},
  };
  const host = new RankHost({ host: () => api, release: () => port?.close() } as unknown as RankWorker);
  return { host, end: () => end(), tell: (event: RankEvent) => port!.postMessage(event) };
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
  ['was stopped or is done', DONE, true],
  ['was broken off by another', { ...FAILED, culprit: 1 }, true],
  ['was broken off by its own rank', { ...FAILED, culprit: 0 }, false],
  ['failed without a culprit', FAILED, false],
])('a host whose run %s, once that is over, may serve another', async (_, last, serves) => {
  const { host, end, tell } = hosted();
  expect(await host.ready()).toBe(true);
  const started = host.start(SETUP, () => undefined);
  expect(await host.ready(1)).toBe(false);
  tell(last);
  await started;
  // Something of it is still under way.
  expect(await host.ready(1)).toBe(false);
  const ready = host.ready(60_000);
  end();
  expect(await ready).toBe(serves);
  host.close();
  expect(await host.ready()).toBe(false);
});
