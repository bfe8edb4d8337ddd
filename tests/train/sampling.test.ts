import { describe, expect, it } from 'vitest';
import { ConfigError, ShapeError } from '../../src/base/errors.ts';
import { RandomStream } from '../../src/base/random.ts';
import { sampleToken } from '../../src/train/beside/sampling.ts';

const logits = [0, Math.log(2), Math.log(5), Math.log(2)];

describe('sampleToken', () => {
  it('temperature 0 and top 1 take the largest, ties the first', () => {
    expect(sampleToken(logits, { temperature: 0 }, 0.99)).toBe(2);
    expect(sampleToken(logits, { topK: 1 }, 0.99)).toBe(2);
    expect(sampleToken([3, 3, 1], { temperature: 0 }, 0.99)).toBe(0);
  });

  it('inverts the cumulative sum: weights 1, 2, 5, 2', () => {
    expect([0, 0.099, 0.101, 0.299, 0.301, 0.799, 0.801, 0.9999].map((u) => sampleToken(logits, {}, u))).toEqual([
      0, 0, 1, 1, 2, 2, 3, 3,
    ]);
  });

  it('top k leaves the k largest, ties the first', () => {
    expect([0, 2 / 7 - 0.01, 2 / 7 + 0.01, 0.999].map((u) => sampleToken(logits, { topK: 2 }, u))).toEqual([
      1, 1, 2, 2,
    ]);
    expect(sampleToken(logits, { topK: 99 }, 0.05)).toBe(0);
  });

  it('low temperature sharpens, high flattens', () => {
    expect(sampleToken(logits, { temperature: 0.01 }, 0.01)).toBe(2);
    expect(sampleToken(logits, { temperature: 1e6 }, 0.26)).toBe(1);
  });

  it('never draws a masked token, and survives huge logits', () => {
    expect(sampleToken([-Infinity, 1e30, -Infinity], {}, 0)).toBe(1);
    expect(sampleToken([-Infinity, 0, -Infinity], {}, 1 - 2 ** -32)).toBe(1);
    expect(sampleToken([-1e30, -1e30], {}, 0.75)).toBe(1);
  });

  it('refuses what no model should say', () => {
    expect(() => sampleToken([1, NaN], {}, 0)).toThrow(
      new ShapeError('sampling: logit 1 of 2 is NaN; the model has diverged'),
    );
    expect(() => sampleToken([-Infinity, -Infinity], {}, 0)).toThrow(ShapeError);
    expect(() => sampleToken([1, Infinity], {}, 0)).toThrow(ShapeError);
    expect(() => sampleToken([], {}, 0)).toThrow(ShapeError);
    expect(() => sampleToken([1], { temperature: -1 }, 0)).toThrow(ConfigError);
    expect(() => sampleToken([1], { topK: 1.5 }, 0)).toThrow(ConfigError);
  });
});

it('draws with the right frequencies', () => {
  const random = new RandomStream(3, 'sampling');
  const counts = [0, 0, 0, 0];
  for (let n = 0; n < 20_000; n++) counts[sampleToken(logits, {}, random.uniform(n))]!++;
  [0.1, 0.2, 0.5, 0.2].forEach((p, i) =>
    expect(Math.abs(counts[i]! / 20_000 - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / 20_000)),
  );
});
