// A run of hundreds of steps in WebAssembly: it learns what the references learn, and its memory stays as it is.

import { expect, test } from 'vitest';
import { runInProcess } from '../../src/cli/in-process.ts';
import type { LocalBackend } from '../../src/cli/in-process.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { StepMetrics } from '../../src/train/trainer.ts';

const STEPS = 300;

interface Step extends StepMetrics {
  readonly memoryBytes: number;
}

async function stepsOf(backend: LocalBackend, steps: number): Promise<readonly Step[]> {
  const found: Step[] = [];
  await runInProcess({
    backend,
    config: parseRunConfig(
      Object.entries({
        model: 'gpt2-nano',
        data: 'copy',
        layout: 'dp=2',
        context: '16',
        batch: '4',
        steps: String(steps),
        evalEvery: '0',
        sampleEvery: '0',
        tune: 'none',
      }),
    ),
    files: {},
    onEvent: (rank, event) => {
      if (rank === 0 && event.kind === 'step') found.push({ ...event.metrics, memoryBytes: event.memoryBytes });
    },
  });
  return found;
}

test('learns what the references learn, in memory that does not grow', async () => {
  const [steps, expected] = [await stepsOf('wasm', STEPS), await stepsOf('cpu', 5)];
  expect(steps).toHaveLength(STEPS);
  for (const [i, { loss }] of expected.entries()) expect(Math.abs(steps[i]!.loss / loss - 1)).toBeLessThan(1e-5);
  expect(steps.at(-1)!.loss).toBeLessThan(steps[0]!.loss);
  expect(new Set(steps.map(({ memoryBytes }) => memoryBytes)).size).toBe(1);
});
