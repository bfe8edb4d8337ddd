// GPipe with re-materialisation on the references: equal to gpipe bit by bit, on memory for the inputs of each
// microbatch and the activations of one.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { Stage } from '../../src/model/stage.ts';
import { planMemory } from '../../src/train/memory/memory-plan.ts';
import { prepareRun } from '../../src/train/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { goldenConfig, runLayout } from '../support/local-run.ts';
import type { LocalResult } from '../support/local-run.ts';

const run = (name: string, layout: string, schedule: string): Promise<LocalResult> =>
  runLayout(name, goldenConfig(name, layout, { steps: 2, schedule }), 'wasm');

afterEach(() => {
  vi.restoreAllMocks();
});

describe('equals gpipe bit by bit', () => {
  test.each([
    ['gpt2-deep', 'pp=4'],
    ['llama-tiny', 'pp=2'],
    ['gpt2-tiny', 'dp=1'],
    ['packed-tiny', 'pp=2'],
    // What only a backward reads is written before the forward.
    ['packed-tiny', 'pp=2,sp=2'],
    ['mixtral-tiny', 'pp=2'],
    ['llama-deep', 'pp=2,tp=2'],
  ])('%s %s', async (name, layout) => {
    const [got, want] = [await run(name, layout, 'gpipe-remat'), await run(name, layout, 'gpipe')];
    expect(got.losses).toEqual(want.losses);
    expect(got.gradNorms).toEqual(want.gradNorms);
    expect(got.gradients).toEqual(want.gradients);
    expect(got.weights).toEqual(want.weights);
  });
});

test('keeps m inputs, and the activations of one microbatch', async () => {
  const activations = async (schedule: string, m: number): Promise<number[]> => {
    const config = parseRunConfig([
      ['layout', 'pp=2'],
      ['schedule', schedule],
      ['model', 'gpt2-micro'],
      ['data', 'copy'],
      ['context', 32],
      ['batch', 8],
      ['microbatches', m],
    ] as [string, string | number][]);
    const { ranks } = await planMemory({ ...config, batch: 2 * m }, prepareRun(config, {}).task);
    return ranks.map(({ activation }) => activation);
  };
  // Two rows a microbatch: stage 1 receives 64 x 128 floats.
  const [four, eight] = [await activations('gpipe-remat', 4), await activations('gpipe-remat', 8)];
  const [whole4, whole8] = [await activations('gpipe', 4), await activations('gpipe', 8)];
  const input = 4 * 64 * 128;
  // Also the targets of each microbatch, row losses and what is read beside them.
  expect(eight[1]! - four[1]!).toBeGreaterThanOrEqual(4 * input);
  expect(eight[1]! - four[1]!).toBeLessThan(4 * 1.1 * input);
  // Stage 0 keeps tokens.
  expect(eight[0]! - four[0]!).toBeLessThan(4 * 64 * 128 * 4 * 1.1);
  expect(whole8[1]! - whole4[1]!).toBeGreaterThan(10 * (eight[1]! - four[1]!));
});

test('the check catches a forward that is made again for the first microbatch alone', async () => {
  const { rematerialise } = Stage.prototype;
  const seen = new WeakSet<Stage>();
  vi.spyOn(Stage.prototype, 'rematerialise').mockImplementation(async function (this: Stage, ...given) {
    if (seen.has(this)) return;
    seen.add(this);
    await rematerialise.apply(this, given);
  });
  const [got, want] = [await run('gpt2-deep', 'pp=2', 'gpipe-remat'), await run('gpt2-deep', 'pp=2', 'gpipe')];
  expect(got.gradients).not.toEqual(want.gradients);
});
