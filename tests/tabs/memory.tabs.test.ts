// A run of some hundred steps in two real tabs, with evaluations, samples and checkpoints on the way: what the page and
// the device hold does not grow with the steps.

import { expect, test } from 'vitest';
import type { RankEvent } from '../../workers/protocol.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { PATIENCE_MS } from '../support/patience.ts';
import { RealTabs } from '../support/real-tabs.ts';
import { ALL } from '../support/sample.ts';

const [WARM, MEASURED] = [100, ALL ? 1000 : 300];
/** The curves keep two numbers a step, the browser's own tables some more. */
const BYTES_PER_STEP = 4096;

const CONFIG = parseRunConfig(
  Object.entries({
    model: 'gpt2-nano',
    data: 'copy',
    layout: 'dp=2',
    batch: '2',
    context: '8',
    steps: '100000',
    evalEvery: '25',
    sampleEvery: '25',
    checkpointEvery: '25',
    tune: 'none',
  }),
);

test('a page holds as much after some hundred steps as before, and so does its device', async () => {
  const tabs = await RealTabs.open(CONFIG, {}, 'tabs', () => ({ backend: 'cpu' }));
  try {
    const page = tabs.pages[0]!;
    const session = await page.context().newCDPSession(page);
    await session.send('HeapProfiler.enable');
    const at = async (step: number) => {
      const event = await tabs.until(`step ${step}`, PATIENCE_MS, (events) =>
        events
          .filter(({ tab, report }) => tab === 0 && report.type === 'rank')
          .map(({ report }) => report.event as unknown as RankEvent)
          .find((each) => each.kind === 'failed' || (each.kind === 'step' && each.metrics.step >= step)),
      );
      if (event.kind !== 'step') throw new Error(JSON.stringify(event));
      // Some objects need two collections.
      for (let i = 0; i < 2; i++) await session.send('HeapProfiler.collectGarbage');
      const { usedSize } = await session.send('Runtime.getHeapUsage');
      return { step: event.metrics.step, heap: usedSize, device: event.memoryBytes };
    };
    const before = await at(WARM);
    const after = await at(WARM + MEASURED);
    expect(after.device).toBe(before.device);
    expect((after.heap - before.heap) / (after.step - before.step)).toBeLessThan(BYTES_PER_STEP);
  } finally {
    await tabs.close();
  }
});
