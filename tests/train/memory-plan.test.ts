// The memory that the page promises before a run is what the run takes: the counted allocations of each rank against
// those of a real run on the references.

import { expect, it, vi } from 'vitest';
import { SlotTable } from '../../src/device/storage/slots.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { planMemory } from '../../src/train/memory/memory-plan.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

it.each<[layout: string, model: string, schedule?: string]>([
  ['dp=1', 'gpt2-nano'],
  ['dp=2,pp=2', 'gpt2-nano'],
  ['pp=2', 'gpt2-nano', 'zb-h1'],
  ['pp=2,tp=2', 'llama-nano'],
  ['sp=2', 'llama-nano'],
  ['ep=2', 'mixtral-nano'],
  ['dp=2,pp=2', 'mlp-nano'],
])('%s of %s takes what was said', async (layout, model, schedule = '1f1b') => {
  const config = parseRunConfig([
    ['layout', layout],
    ['schedule', schedule],
    ['model', model],
    ...(model === 'mlp-nano'
      ? [['data', 'planted'] as const]
      : ([
          ['data', 'copy'],
          ['context', 16],
        ] as const)),
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
  const plan = await planMemory(config, prepareRun(config, {}).task);
  expect(plan.parameters).toBe(parameters);
  const said = plan.ranks.map((memory) => Object.values(memory).reduce((sum, bytes) => sum + bytes, 0));
  expect(said).toEqual(Array.from({ length: said.length }, (_, rank) => seen.get(rank)));
  // A second device for half of the weights must not be promised the whole.
  expect(plan.ranks[0]!.param).toBeGreaterThan(0);
});

// Memory of a stage by what is kept: F to B, F to W, B to W.
it('of zb-h1 knows that what B alone needs is not kept for W', async () => {
  const config = parseRunConfig([
    ['layout', 'pp=4'],
    ['schedule', 'zb-h1'],
    ['model', 'gpt2-micro'],
    ['data', 'copy'],
    ['context', 32],
    ['batch', 8],
    ['microbatches', 8],
  ]);
  const { task } = prepareRun(config, {});
  const of = async (schedule: string): Promise<number[]> =>
    (await planMemory({ ...config, schedule }, task)).ranks.map(({ activation }) => activation);
  const [split, whole] = [await of('zb-h1'), await of('1f1b')];
  const everything = await allInOneClass(() => of('zb-h1'));
  expect(everything.every((bytes, rank) => bytes > 0 && split[rank]! <= bytes)).toBe(true);
  // Rank 0 keeps what B alone needs four times, as 1F1B does, and what W needs of B once; rank 3 the other way round.
  expect(split[0]! / everything[0]!).toBeLessThan(0.75);
  expect(split[3]! / everything[3]!).toBeLessThan(0.85);
  expect(split[0]! / whole[0]!).toBeLessThan(1.1);
  expect(split[3]!).toBeGreaterThan(whole[3]!);
});

/** What `work` finds if all that is kept of a microbatch were kept from F to W, as one class of slots would. */
async function allInOneClass<T>(work: () => Promise<T>): Promise<T> {
  const spy = vi.spyOn(SlotTable.prototype, 'classFor').mockImplementation(function (this: SlotTable) {
    return { name: 'retained', plans: ['F', 'B', 'W'], count: 4 };
  });
  try {
    return await work();
  } finally {
    spy.mockRestore();
  }
}
