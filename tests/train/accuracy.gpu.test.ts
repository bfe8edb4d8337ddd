// Which targets are predicted, on a GPU: ties and all as the definition says, and in a run what the references tell.

import { expect, test } from 'vitest';
import { localDevice, runInProcess } from '../../src/cli/in-process.ts';
import type { LocalBackend } from '../../src/cli/in-process.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { RunEvent } from '../../src/train/run.ts';
import { CHUNKS, expectPredicted } from './predicted-targets.ts';

test.each(CHUNKS)('predicted targets, in chunks of %i columns', async (chunk) => {
  await expectPredicted(await localDevice('node'), chunk);
});

test.each(['dp=1', 'tp=2', 'pp=2'])('%s: a run tells the accuracy that the references tell', async (layout) => {
  const config = parseRunConfig([
    ['model', 'gpt2-nano'],
    ['data', 'copy'],
    ['layout', layout],
    ['context', '16'],
    ['batch', '8'],
    ['steps', '3'],
    ['lr', '0.01'],
    ['evalEvery', '3'],
  ]);
  const told = async (backend: LocalBackend): Promise<readonly (number | undefined)[]> => {
    const all: (number | undefined)[] = [];
    const onEvent = (_: number, event: RunEvent): void => {
      if (event.kind === 'evaluation') all.push(event.accuracy);
    };
    await runInProcess({ backend, config, files: {}, onEvent });
    return all;
  };
  const want = await told('cpu');
  expect(want[0]).toBeGreaterThan(0);
  expect(await told('node')).toEqual(want);
});
