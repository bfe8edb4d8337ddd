import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/base/errors.ts';
import { checkLearningRate, learningRateAt, type LearningRate } from '../../src/train/learning-rate.ts';

const curve = (rate: LearningRate, steps: number): number[] =>
  Array.from({ length: steps }, (_, s) => learningRateAt(rate, s, steps));

describe('learningRateAt', () => {
  it('a constant and a list are themselves', () => {
    expect(curve(0.01, 3)).toEqual([0.01, 0.01, 0.01]);
    expect(curve([0.1, 0.2], 2)).toEqual([0.1, 0.2]);
    expect(() => learningRateAt([0.1, 0.2], 2, 3)).toThrow('lr: the list has 2 values, but step 2 needs one');
  });

  it('linear: up to the peak at the last step of the warm-up, down to the floor at the last step', () => {
    expect(curve({ peak: 1, warmupSteps: 2, decay: 'linear', floor: 0 }, 7)).toEqual([0.5, 1, 1, 0.75, 0.5, 0.25, 0]);
  });

  it('cosine: flat at both ends, half way in the middle', () => {
    const c = curve({ peak: 1, warmupSteps: 0, decay: 'cosine', floor: 0.2 }, 5);
    expect(c.map((v) => v.toFixed(6))).toEqual(['1.000000', '0.882843', '0.600000', '0.317157', '0.200000']);
  });

  it('none: stays at the peak', () => {
    expect(curve({ peak: 1, warmupSteps: 4, decay: 'none', floor: 0 }, 6)).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
  });

  it('has no gap where the warm-up fills the run or one step is left', () => {
    expect(curve({ peak: 1, warmupSteps: 3, decay: 'cosine', floor: 0 }, 3)).toEqual([1 / 3, 2 / 3, 1]);
    expect(curve({ peak: 1, warmupSteps: 2, decay: 'cosine', floor: 0 }, 3)[2]).toBe(1);
  });
});

describe('checkLearningRate', () => {
  it.each<[LearningRate, string]>([
    [-1, 'lr: expected a number of at least 0, got -1'],
    [NaN, 'lr: expected a number of at least 0, got NaN'],
    [[0.1], 'lr: the list has 1 values, but the run has 3 steps'],
    [[0.1, 0.1, Infinity], 'lr[2]: expected a number of at least 0, got Infinity'],
    [{ peak: 1, warmupSteps: 4, decay: 'none', floor: 0 }, 'warmup: expected 0 to 3 steps, got 4'],
    [{ peak: 1, warmupSteps: 1, decay: 'none', floor: 2 }, 'minLr: expected at most lr 1, got 2'],
  ])('refuses %j', (rate, message) => {
    expect(() => checkLearningRate(rate, 3)).toThrow(ConfigError);
    expect(() => checkLearningRate(rate, 3)).toThrow(message);
  });

  it('accepts what learningRateAt serves', () => {
    for (const rate of [0, 0.1, [1, 2, 3, 4], { peak: 1, warmupSteps: 3, decay: 'cosine', floor: 1 }] as const)
      expect(() => checkLearningRate(rate, 3)).not.toThrow();
  });
});
