// The global norm is the same in every bit however equal gradients are cut over parts, launches and ranks.

import { describe, expect, test } from 'vitest';
import { elements } from '../../src/base/shape.ts';
import { RandomStream } from '../../src/base/random.ts';
import { parseModelConfig } from '../../src/model/config.ts';
import { readParts } from '../../src/model/param-spec.ts';
import { presetConfig } from '../../src/model/presets.ts';
import { weightSpecs } from '../../src/model/weights.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { squareGroup } from '../../src/train/tasks/language/language-model.ts';
import { addSquares, readBins, valueOf } from '../../src/train/step/square-sum.ts';
import type { SquareSum } from '../../src/train/step/square-sum.ts';
import { BIN_WORDS, squareBins } from '../../shaders/optimizer/square-bins.ts';
import { firstDifference, goldenConfig, goldenModel, readGolden, runLayout } from '../support/local-run.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';

/** Of some elements, added in `parts` parts. */
function squaresOf(values: Float32Array<ArrayBuffer>, parts: number, group: 1 | 4 = 4): SquareSum {
  const bins = new Uint32Array(parts * BIN_WORDS);
  const x = new Uint32Array(values.buffer, values.byteOffset, values.length);
  squareBins.reference({ x, w: x, bins }, { N: values.length, GROUP: group, PARTS: parts });
  return readBins(bins).squares;
}

const draw = (count: number, exponents: number, at = 0): Float32Array<ArrayBuffer> => {
  const random = new RandomStream(5, `norm ${count} ${exponents} ${at}`);
  return Float32Array.from(
    { length: count },
    (_, i) => random.normal(2 * i) * 2 ** (at + exponents * (random.uniform(2 * i + 1) - 0.5)),
  );
};

describe('square sums', () => {
  test.each([
    [0, 0],
    [10, 0],
    [60, 0],
    [200, 0],
    [20, 100],
    [20, -60],
  ])('over %i powers of two around 2^%i have the same bits in any cut', (exponents, at) => {
    const values = draw(4096, exponents, at);
    const whole = valueOf(squaresOf(values, 1));
    for (const cut of [4, 64, 1000, 2048, 4092]) {
      for (const parts of [1, 3, 7]) {
        const [a, b] = [squaresOf(values.slice(0, cut), parts), squaresOf(values.slice(cut), 2)];
        expect(valueOf(addSquares([a, b]))).toBe(whole);
        expect(valueOf(addSquares([b, a]))).toBe(whole);
      }
    }
    const want = values.reduce((sum, value) => sum + value * value, 0);
    expect(Math.abs(whole / want - 1)).toBeLessThan(1e-6);
    // A plain sum in another order is not.
    const plain = (list: Float32Array): number =>
      list.reduce((sum, value) => Math.fround(sum + Math.fround(value * value)), 0);
    if (exponents > 0 && exponents < 60 && at === 0)
      expect(Math.fround(plain(values.slice(0, 1000)) + plain(values.slice(1000)))).not.toBe(plain(values));
  });

  test('neither overflow nor vanish', () => {
    expect(valueOf(squaresOf(new Float32Array(8).fill(3e38), 1))).toBeCloseTo(8 * 9e76, -72);
    expect(Math.abs(valueOf(squaresOf(new Float32Array(4).fill(1e-30), 1)) / 4e-60 - 1)).toBeLessThan(1e-6);
    expect(valueOf(squaresOf(new Float32Array(400), 3))).toBe(0);
  });

  test('one by one where a layout may cut within four', () => {
    expect(squareGroup(presetConfig('gpt2-nano', 100))).toBe(4);
    expect(squareGroup({ ...presetConfig('gpt2-nano', 100), headDim: 6, heads: 4, kvHeads: 4 })).toBe(1);
    const values = draw(400, 10);
    const whole = valueOf(squaresOf(values, 1, 1));
    for (const cut of [4, 100, 396])
      expect(valueOf(addSquares([squaresOf(values.slice(0, cut), 1, 1), squaresOf(values.slice(cut), 1, 1)]))).toBe(
        whole,
      );
    // Two orders of the same elements; in fours they differ.
    expect(
      valueOf(
        squaresOf(values.toReversed().toSorted((a, b) => Math.abs(a) - Math.abs(b)) as Float32Array<ArrayBuffer>, 1, 1),
      ),
    ).toBe(whole);
  });
});

test.each([
  [
    'gpt2-tiny',
    [
      'dp=1',
      'dp=2',
      'dp=3',
      'dp=4',
      'pp=2',
      'tp=2',
      'tp=4',
      'sp=2',
      'dp=2,pp=2',
      'dp=2,tp=2',
      'pp=2,tp=2',
      'dp=3,tp=2',
    ],
  ],
  ['llama-tiny', ['dp=1', 'dp=2', 'pp=2', 'tp=2', 'sp=4', 'dp=2,pp=2,tp=2']],
  ['mixtral-tiny', ['dp=1', 'ep=2', 'ep=4', 'tp=2', 'ep=2,tp=2', 'dp=2,ep=2', 'pp=2,ep=2']],
])('%s: the same gradients have the same norm in every layout', async (name, layouts) => {
  const model = parseModelConfig(new TextDecoder().decode(readGolden(name, 'config.json')));
  const whole = new Map(
    weightSpecs(model).map(({ name: weight, shape }) => [
      weight,
      { shape, data: draw(elements(shape), 20, weight.length % 7) },
    ]),
  );
  const norms: number[] = [];
  for (const layout of layouts) {
    // A batch that every layout can cut; it is not trained on.
    const config = { ...goldenConfig(name, layout), data: 'copy', batch: 12, microbatches: 1 };
    const results = await onTrainers(
      config,
      async ({ trainer, device }) => {
        for (const { params } of trainer.stages.values()) {
          const flat = new Float32Array(params.layout.size);
          for (const { spec, start } of params.layout.places.values())
            readParts(spec, (weight) => whole.get(weight)!, flat.subarray(start, start + elements(spec.shape)));
          device.write(params.grads, 0, flat);
        }
        return addSquares(
          await Promise.all(
            [...trainer.sync.optimizers.values()].map(async (optimizer) => (await optimizer.measure()).squares),
          ),
        );
      },
      { files: readRunFiles(goldenModel(name)) },
    );
    norms.push(valueOf(addSquares(allOf(results))));
  }
  expect(new Set(norms).size, String(norms)).toBe(1);
  const want = [...whole.values()].reduce(
    (sum, { data }) => sum + data.reduce((squares, value) => squares + value * value, 0),
    0,
  );
  expect(Math.abs(norms[0]! / want - 1)).toBeLessThan(1e-6);
});

test('a run whose gradients are the same in every bit reports the same norm, loss and weights', async () => {
  const [one, two] = [
    await runLayout('llama-tiny', goldenConfig('llama-tiny', 'dp=1', { steps: 3, microbatches: 2 })),
    await runLayout('llama-tiny', goldenConfig('llama-tiny', 'pp=2', { steps: 3, microbatches: 2 })),
  ];
  expect(firstDifference(two.gradients, one.gradients, 0)).toBeUndefined();
  expect(two.gradNorms).toEqual(one.gradNorms);
  expect(two.losses).toEqual(one.losses);
  expect(firstDifference(two.weights, one.weights, 0)).toBeUndefined();
});
