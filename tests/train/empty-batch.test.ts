// A batch in which no target counts changes nothing, and is no failure.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { runInProcess } from '../../src/cli/in-process.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import type { RunEvent } from '../../src/train/run.ts';
import { goldenConfig, goldenModel } from '../support/local-run.ts';
import { allOf, onTrainers, stateOf } from '../support/trainer-lab.ts';

const masking = vi.hoisted(() => ({ on: false }));
vi.mock('../../src/train/data/slice-batch.ts', async (original) => {
  const real = await original<typeof import('../../src/train/data/slice-batch.ts')>();
  return {
    ...real,
    sliceBatch: (...given: Parameters<typeof real.sliceBatch>) => {
      const slice = real.sliceBatch(...given);
      return masking.on ? { ...slice, targets: slice.targets.map(() => -100) } : slice;
    },
  };
});
afterEach(() => {
  masking.on = false;
});

const files = (name: string) => readRunFiles(goldenModel(name));

describe('a batch in which no target counts', () => {
  test.each(['dp=1', 'dp=2', 'pp=2', 'tp=2', 'sp=2', 'dp=2,pp=2'])('changes nothing, %s', async (layout) => {
    const results = allOf(
      await onTrainers(
        goldenConfig('gpt2-tiny', layout, { weightDecay: 0.5 }),
        async (rank) => {
          const first = await rank.trainer.trainStep();
          const before = await stateOf(rank);
          masking.on = true;
          const empty = await rank.trainer.trainStep();
          expect(await rank.trainer.evaluate(rank.trainer.options.batchAt(0))).toEqual({ loss: 0, tokens: 0 });
          const same = String(await stateOf(rank)) === String(before);
          masking.on = false;
          const third = await rank.trainer.trainStep();
          return {
            losses: [first, empty, third].map(({ loss }) => loss),
            empty,
            same,
            changed: String(await stateOf(rank)) !== String(before),
            counts: [rank.trainer.step, rank.trainer.updates],
          };
        },
        { files: files('gpt2-tiny') },
      ),
    );
    for (const { losses, empty, same, changed, counts } of results) {
      expect(empty).toMatchObject({ loss: 0, gradNorm: 0, tokens: 0, step: 1 });
      expect([same, changed, counts]).toEqual([true, true, [3, 2]]);
      expect(losses.every(Number.isFinite)).toBe(true);
    }
  });

  test('is told, and the run goes on', async () => {
    masking.on = true;
    const notes: RunEvent[] = [];
    await runInProcess({
      backend: 'cpu',
      config: goldenConfig('gpt2-tiny', 'dp=2', { steps: 2 }),
      files: files('gpt2-tiny'),
      wantModel: true,
      onEvent: (rank, event) => {
        if (rank === 1 && event.kind === 'note') notes.push(event);
      },
    });
    expect(notes).toEqual(
      [1, 2].map((step) => ({
        kind: 'note',
        step,
        text: 'no target of this batch counts, so the step changed nothing',
      })),
    );
  });
});
