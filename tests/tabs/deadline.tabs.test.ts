// A tab that lives but hangs in its own work: silence does not tell, the deadline of the exchange does, and names it. A
// tab that is paused for longer than the deadline is waited for.

import { expect, test } from 'vitest';
import type { RankEvent } from '../../workers/protocol.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { formatTimeline, mergeTimeline } from '../../src/collectives/record/timeline.ts';
import { PATIENCE_MS, scaledLimit } from '../support/patience.ts';
import { RealTabs } from '../support/real-tabs.ts';
import type { TabEvent } from '../support/real-tabs.ts';

/** The shortest that a run may have. */
const DEADLINE_S = 12;
const VICTIM_TAB = 1;

function rankEvents(events: readonly TabEvent[], tab: number): RankEvent[] {
  return events.flatMap(({ tab: from, report }) =>
    from === tab && report.type === 'rank' ? [report.event as unknown as RankEvent] : [],
  );
}

const steps = (events: readonly TabEvent[], tab: number): number =>
  rankEvents(events, tab).filter(({ kind }) => kind === 'step').length;

test('a tab that is paused is waited for; one whose GPU never answers is named slow', async () => {
  const config = parseRunConfig([
    ['model', 'gpt2-nano'],
    ['data', 'copy'],
    ['layout', 'dp=2'],
    ['batch', '8'],
    ['steps', '100000'],
    ['evalEvery', '0'],
    ['sampleEvery', '0'],
    ['tune', 'none'],
    ['deadline', String(DEADLINE_S)],
  ]);
  const tabs = await RealTabs.open(config);
  try {
    const after = (count: number): Promise<true> =>
      tabs.until(`${count} steps on both tabs`, PATIENCE_MS, (events) =>
        Math.min(steps(events, 0), steps(events, 1)) >= count ? true : undefined,
      );
    await after(3);
    await tabs.pages[VICTIM_TAB]!.evaluate(() => window.tabmesh!.pause());
    // Nothing is to happen for longer than the deadline; no event tells that.
    await new Promise((resolve) => {
      setTimeout(resolve, 1.6 * DEADLINE_S * 1000);
    });
    const paused = steps(tabs.events, VICTIM_TAB);
    await tabs.pages[VICTIM_TAB]!.evaluate(() => window.tabmesh!.resume());
    await after(paused + 3);
    expect(tabs.events.filter(({ report }) => report.type === 'rank' && report.event?.kind === 'failed')).toEqual([]);

    const victim = tabs.rankOf(VICTIM_TAB)!;
    const [worker] = tabs.pages[VICTIM_TAB]!.workers();
    const slackMs = scaledLimit(5000);
    const hungAtMs = performance.now();
    await worker!.evaluate(() => {
      GPUBuffer.prototype.mapAsync = () => new Promise(() => undefined);
    });
    const { atMs, failed } = await tabs.until('a failure on the other tab', PATIENCE_MS, (events) => {
      const event = events.find(
        ({ tab, report }) => tab === 0 && report.type === 'rank' && report.event?.kind === 'failed',
      );
      return (
        event && { atMs: event.atMs, failed: event.report.event as unknown as Extract<RankEvent, { kind: 'failed' }> }
      );
    });
    expect(failed, failed.message).toMatchObject({ name: 'PeerError', culprit: victim, evidence: 'slow' });
    expect(atMs - hungAtMs).toBeGreaterThan(1000 * DEADLINE_S);
    expect(atMs - hungAtMs).toBeLessThan(1000 * DEADLINE_S + scaledLimit(5000, slackMs));
    const text = formatTimeline(mergeTimeline([failed.flight!]));
    expect(text).toMatch(new RegExp(`first to diverge: rank ${victim} `));
    // The page shows it too, folded.
    expect(await tabs.pages[0]!.textContent('.problems details pre')).toContain(`waiting for ${victim} since`);
  } finally {
    await tabs.close();
  }
});
