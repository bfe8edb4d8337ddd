// A task without tokens in two real tabs: over WebRTC and WebGPU it learns what one device learns.

import { expect, test } from 'vitest';
import type { RankEvent } from '../../workers/protocol.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { PATIENCE_MS } from '../support/patience.ts';
import { RealTabs } from '../support/real-tabs.ts';
import { sample } from '../support/sample.ts';

const settings = (layout: string, microbatches: string) =>
  parseRunConfig(
    Object.entries({
      model: 'mlp-nano',
      data: 'planted',
      layout,
      microbatches,
      steps: '12',
      evalEvery: '6',
      tune: 'none',
    }),
  );

test.each(
  sample(
    [
      ['pp=2', '4'],
      ['dp=2', '1'],
    ] as const,
    1,
  ),
)('two tabs with %s', async (layout, microbatches) => {
  const expected: number[] = [];
  await runInProcess({
    backend: 'cpu',
    config: settings('dp=1', '1'),
    files: {},
    onEvent: (_rank, event) => {
      if (event.kind === 'step') expected.push(event.metrics.loss);
    },
  });
  const tabs = await RealTabs.open(settings(layout, microbatches));
  try {
    const events = await tabs.until('the end of the run', PATIENCE_MS, (all) => {
      const own = all
        .filter(({ report }) => report.type === 'rank')
        .map(({ report }) => report.event as unknown as RankEvent);
      return own.some(({ kind }) => kind === 'done' || kind === 'failed') ? own : undefined;
    });
    const losses = new Map<number, number>();
    for (const event of events) if (event.kind === 'step') losses.set(event.metrics.step, event.metrics.loss);
    expect(losses.size).toBe(expected.length);
    for (const [step, loss] of losses) expect(Math.abs(loss / expected[step]! - 1)).toBeLessThan(1e-4);
    expect(events.filter(({ kind }) => kind === 'note' || kind === 'failed')).toEqual([]);
  } finally {
    await tabs.close();
  }
});
