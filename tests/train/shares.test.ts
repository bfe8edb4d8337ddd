// Microbatches of a step dealt unevenly over the replicas, none for some: the step is that of one device.

import { describe, expect, test } from 'vitest';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { gatherModel } from '../../src/train/gather.ts';
import type { RunConfig } from '../../src/train/run-config.ts';
import { goldenConfig, goldenModel } from '../support/local-run.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';

const files = readRunFiles(goldenModel('gpt2-tiny'));
const STEPS = 2;
/** Of one row each. */
const MICROBATCHES = 4;

/** The microbatches of a step by replica. */
type Dealing = (step: number, replica: number) => readonly number[];

async function train(config: RunConfig, dealing?: Dealing) {
  const [first] = allOf(
    await onTrainers(
      config,
      async ({ trainer }) => {
        const steps: { loss: number; norm: number; tokens: number; gradients: Map<string, Float32Array> }[] = [];
        for (let step = 0; step < STEPS; step++) {
          const gradients = new Map<string, Float32Array>();
          const { loss, gradNorm, tokens } = await trainer.trainStep(async () => {
            for (const [name, { data }] of await gatherModel(trainer, 'gradients')) gradients.set(name, data);
          });
          steps.push({ loss, norm: gradNorm, tokens, gradients });
        }
        return steps;
      },
      {
        files,
        change: (options) => ({
          ...options,
          ...(dealing
            ? {
                deal: {
                  microbatches: MICROBATCHES,
                  most: MICROBATCHES,
                  of: (step: number) => dealing(step, options.mesh.coordinate('dp')),
                },
              }
            : {}),
        }),
      },
    ),
  );
  return first!;
}

/** Of the largest value. */
function differ(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): number {
  let worst = 0;
  for (const [name, expected] of b) {
    const most = expected.reduce((value, x) => Math.max(value, Math.abs(x)), 1e-30);
    const got = a.get(name)!;
    expected.forEach((x, i) => (worst = Math.max(worst, Math.abs(x - got[i]!) / most)));
  }
  return worst;
}

const uneven: Dealing = (step, replica) => (step === 0 ? [[0, 1, 3], [2]] : [[1], [0, 2, 3]])[replica]!;
const none: Dealing = (step, replica) => (replica === step % 2 ? [] : [3, 0, 2, 1]);

describe.each([
  ['dp=2', '1f1b'],
  ['dp=2,pp=2', '1f1b'],
  ['dp=2,pp=2', 'zb-h1'],
  ['dp=2,tp=2', '1f1b'],
] as const)('%s %s', (layout, schedule) => {
  const one = goldenConfig('gpt2-tiny', 'dp=1', { microbatches: MICROBATCHES });
  const config = goldenConfig('gpt2-tiny', layout, { schedule });

  test.each([
    ['3 and 1, then 1 and 3', uneven],
    ['none and 4, then 4 and none', none],
  ])('%s microbatches equal one device', async (_, dealing) => {
    const expected = await train(one);
    const steps = await train(config, dealing);
    // The second step's gradients are of the weights that the first one made.
    for (const [i, step] of steps.entries()) {
      expect(step.tokens).toBe(expected[i]!.tokens);
      expect(Math.abs(step.loss / expected[i]!.loss - 1)).toBeLessThan(1e-6);
      expect(Math.abs(step.norm / expected[i]!.norm - 1)).toBeLessThan(1e-5);
      expect(differ(step.gradients, expected[i]!.gradients)).toBeLessThan(1e-5);
    }
  });
});

test('a microbatch that two replicas compute is found', async () => {
  const expected = await train(goldenConfig('gpt2-tiny', 'dp=1', { microbatches: MICROBATCHES }));
  const steps = await train(
    goldenConfig('gpt2-tiny', 'dp=2'),
    (_, replica) =>
      [
        [0, 1, 3],
        [1, 2],
      ][replica]!,
  );
  expect(steps[0]!.tokens).not.toBe(expected[0]!.tokens);
});

test('more microbatches in flight than memory was made for are refused before anything is computed', async () => {
  const results = await onTrainers(
    goldenConfig('gpt2-tiny', 'dp=1', { schedule: 'gpipe' }),
    ({ trainer }) => trainer.trainStep(),
    { files, change: (options) => ({ ...options, deal: { microbatches: 4, most: 2, of: () => [0, 1, 2] } }) },
  );
  expect(String(results[0])).toMatch(
    /^LayoutError: microbatches: gpipe holds 3 of 3 in flight on stage 0, but memory was made for 2; .* fewer$/,
  );
});

test('slots that no plan was bound to together are refused alike by every rank of the pipeline', async () => {
  const results = await onTrainers(
    goldenConfig('gpt2-deep', 'pp=3', { schedule: 'zb-h1' }),
    ({ trainer }) => trainer.trainStep(),
    {
      files: readRunFiles(goldenModel('gpt2-deep')),
      change: (options) => ({ ...options, deal: { microbatches: 4, most: 3, of: () => [0, 1, 2, 3] } }),
    },
  );
  expect(results.map(String)).toEqual(
    Array.from({ length: 3 }, () => expect.stringMatching(/^LayoutError: microbatches: zb-h1 .*record for 4 or give/)),
  );
});
