// One of four real tabs goes away in the middle of a step: closed, crashed, or frozen without a word. Every other tab
// ends within 8 s with an error that names it, and the last checkpoint is whole. Over WebRTC, but in one browser: a
// crash is told by the lock of the tab, not by silence.

import { expect, test } from 'vitest';
import type { RankEvent } from '../../workers/protocol.ts';
import { prepareLanguage } from '../../src/train/tasks/language/prepare.ts';
import { readCheckpoint } from '../../src/train/checkpoint.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { PATIENCE_MS, scaledLimit } from '../support/patience.ts';
import { RealTabs } from '../support/real-tabs.ts';
import { sample } from '../support/sample.ts';

const VICTIM_TAB = 2;
const LIMIT_MS = 8000;

const WAYS: readonly (readonly [string, (tabs: RealTabs, pid: number) => Promise<unknown>, readonly string[]])[] = [
  ['frozen by SIGSTOP', async (_tabs, pid) => process.kill(pid, 'SIGSTOP'), ['silent']],
  ['closed', (tabs) => tabs.pages[VICTIM_TAB].close(), ['closed', 'left']],
  [
    'crashed',
    async (tabs) => {
      const session = await tabs.pages[VICTIM_TAB].context().newCDPSession(tabs.pages[VICTIM_TAB]);
      // The answer never comes: the process that would send it is gone.
      void session.send('Page.crash').catch(() => {});
    },
    ['closed'],
  ],
];

test.each(sample(WAYS, 1))('a tab that is %s in mid-step', async (_how, kill, evidence) => {
  const config = parseRunConfig([
    ['model', 'gpt2-nano'],
    ['data', 'copy'],
    ['layout', 'dp=2,pp=2'],
    ['batch', '8'],
    ['microbatches', '2'],
    ['steps', '100000'],
    ['evalEvery', '0'],
    ['sampleEvery', '0'],
    ['checkpointEvery', '2'],
    ['tune', 'none'],
  ]);
  const tabs = await RealTabs.open(config);
  let pid = 0;
  try {
    pid = await tabs.rendererPid(VICTIM_TAB);
    await tabs.until('three steps on every tab', PATIENCE_MS, (events) => {
      const steps = [0, 1, 2, 3].map(
        (tab) => events.filter((event) => event.tab === tab && rankEvent(event.report)?.kind === 'step').length,
      );
      return Math.min(...steps) >= 3 ? true : undefined;
    });
    const victim = tabs.rankOf(VICTIM_TAB)!;
    const before = scaledLimit(LIMIT_MS);
    const killedAtMs = performance.now();
    await kill(tabs, pid);
    const survivors = [0, 1, 3];
    const failures = await tabs.until('a failure on every survivor', PATIENCE_MS, (events) => {
      const failed = survivors.map((tab) =>
        events.find((event) => event.tab === tab && rankEvent(event.report)?.kind === 'failed'),
      );
      return failed.every((event) => event !== undefined) ? failed : undefined;
    });
    const allowedMs = scaledLimit(LIMIT_MS, before);
    for (const { atMs, report } of failures) {
      const event = rankEvent(report) as Extract<RankEvent, { kind: 'failed' }>;
      expect(event, event.message).toMatchObject({ kind: 'failed', culprit: victim });
      expect(evidence).toContain(event.evidence);
      expect(atMs - killedAtMs).toBeLessThan(allowedMs);
    }
    const last = tabs.events
      .map(({ report }) => rankEvent(report))
      .filter((event) => event?.kind === 'checkpoint')
      .at(-1)!;
    const { weights } = prepareLanguage(config, {}).task;
    expect(readCheckpoint(tabs.run.take(`checkpoint-${last.step}`), weights).step).toBe(last.step);
  } finally {
    if (pid) continueProcess(pid);
    await tabs.close();
  }
});

function rankEvent(report: { type: string; event?: unknown }): RankEvent | undefined {
  return report.type === 'rank' ? (report.event as RankEvent) : undefined;
}

function continueProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch (error) {
    // The crashed or closed tab's process is gone already.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
