// The memory that the page promises before a run is what the run takes: the counted allocations of each rank against
// those of a real run on the references.

import { expect, it } from 'vitest';
import { runInProcess } from '../../src/cli/in-process.ts';
import { presetConfig } from '../../src/model/presets.ts';
import { planMemory } from '../../src/train/memory/memory-plan.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

it.each([
  ['dp=1', 'gpt2-nano'],
  ['dp=2,pp=2', 'gpt2-nano'],
  ['pp=2,tp=2', 'llama-nano'],
  ['sp=2', 'llama-nano'],
  ['ep=2', 'mixtral-nano'],
])('%s of %s takes what was said', async (layout, model) => {
  const config = parseRunConfig([
    ['layout', layout],
    ['model', model],
    ['data', 'copy'],
    ['context', 16],
    ['batch', 4],
    ['microbatches', 2],
    ['steps', 1],
    ['evalEvery', 0],
    ['sampleEvery', 0],
  ]);
  const seen = new Map<number, number>();
  let parameters = 0;
  await runInProcess({
    backend: 'cpu',
    config,
    files: {},
    onEvent: (rank, event) => {
      if (event.kind !== 'ready') return;
      seen.set(rank, event.memoryBytes);
      parameters = event.parameters;
    },
  });
  const plan = await planMemory(config, presetConfig(model, 17, { context: 16 }), 16);
  expect(plan.parameters).toBe(parameters);
  const said = plan.ranks.map((memory) => Object.values(memory).reduce((sum, bytes) => sum + bytes, 0));
  expect(said).toEqual(Array.from({ length: said.length }, (_, rank) => seen.get(rank)));
  // A second device for half of the weights must not be promised the whole.
  expect(plan.ranks[0]!.param).toBeGreaterThan(0);
});
