// A run of this process that fails shows what every rank did last.

import { expect, it } from 'vitest';
import { runInProcess } from '../../src/cli/in-process.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

const config = parseRunConfig([
  ['model', 'gpt2-nano'],
  ['data', 'copy'],
  ['layout', 'dp=2'],
  ['batch', '4'],
  ['context', '8'],
  ['steps', '4'],
  ['evalEvery', '0'],
  ['sampleEvery', '0'],
  ['tune', 'none'],
]);

it('a rank that throws in its second step ends the run with a timeline of both ranks', async () => {
  const told: string[] = [];
  const asked = [0, 0];
  const requests = (rank: number) => {
    if (rank === 1 && ++asked[rank]! === 2) throw new Error('the disk is full');
    return { stop: false, save: false, sample: false };
  };
  await expect(
    runInProcess({
      backend: 'cpu',
      config,
      files: {},
      onEvent: () => undefined,
      requests,
      onTimeline: (text) => told.push(text),
    }),
  ).rejects.toThrow();
  expect(told.length).toBe(1);
  expect(told[0]).toMatch(/first to diverge: rank 1 \(missing\) in world \d+: it did not call all-gather u32\[48\]/);
  expect(told[0]).toContain('the disk is full');
});

it('a run that ends well shows none', async () => {
  const told: string[] = [];
  await runInProcess({
    backend: 'cpu',
    config: { ...config, steps: 1 },
    files: {},
    onEvent: () => undefined,
    onTimeline: (text) => told.push(text),
  });
  expect(told).toEqual([]);
});
