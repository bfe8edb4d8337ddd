// The arithmetic of the charts, and what a run's view adds up for them.

import { describe, expect, it } from 'vitest';
import {
  duration,
  figure,
  indexAt,
  positive,
  smoothed,
  tickLabel,
  valueAt,
  zoomed,
} from '../../src/app/training/charts/curve.ts';
import { RunView } from '../../src/app/training/run-view.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { StepMetrics } from '../../src/train/trainer.ts';

it('smooths without the pull of a start at 0', () => {
  expect(smoothed([5, 5, 5], 0.9)).toEqual([5, 5, 5].map((value) => expect.closeTo(value, 9)));
  const [, second] = smoothed([0, 1], 0.5);
  expect(second).toBeCloseTo(2 / 3, 9);
  expect(smoothed([1, 2, 3], 0)).toEqual([1, 2, 3]);
});

it('finds the value at a step', () => {
  const points = { x: [1, 5, 9], y: [10, 50, 90] };
  expect([0, 1, 4.9, 5, 9, 100].map((at) => indexAt(points, at))).toEqual([-1, 0, 0, 1, 2, 2]);
  expect([valueAt(points, 0), valueAt(points, 6), valueAt({ x: [], y: [] }, 1)]).toEqual([undefined, 50, undefined]);
});

it('zooms around a step, and back to everything', () => {
  expect(zoomed([0, 100], 0.5, 50, [0, 100])).toEqual([25, 75]);
  expect(zoomed([25, 75], 0.5, 75, [0, 100])).toEqual([50, 75]);
  expect(zoomed([25, 75], 2, 50, [0, 100])).toBe(undefined);
  const [low, high] = zoomed([5, 5.8], 0.5, 5.4, [0, 100])!;
  expect(high - low).toBeCloseTo(1);
});

it('writes figures and times for people', () => {
  expect(positive([1, 0, -2, 3])).toEqual([1, null, null, 3]);
  expect([
    figure(0),
    figure(2.34567),
    figure(1234.5),
    figure(0.0002, 5),
    figure(0.002, 5),
    figure(3e-9),
    figure(12345678),
    figure(7.6, 0),
  ]).toEqual(['0', '2.346', '1,235', '2.00e-4', '0.00200', '3.00e-9', '1.23e7', '8']);
  expect([duration(400), duration(89_000), duration(125_000), duration(2 * 3600_000 + 5 * 60_000)]).toEqual([
    '0 s',
    '89 s',
    '2 min',
    '2 h 5 min',
  ]);
});

it('labels an axis so that no two labels are alike', () => {
  const labels = (from: number, step: number, count = 5): string[] => {
    return Array.from({ length: count }, (_, i) => tickLabel(from + i * step, step));
  };
  expect(labels(0.00198, 0.000005)).toEqual(['0.00198', '0.001985', '0.00199', '0.001995', '0.002']);
  expect(labels(1200, 50, 3)).toEqual(['1.2k', '1.25k', '1.3k']);
  expect(labels(0, 0.1, 4)).toEqual(['0', '0.1', '0.2', '0.3']);
  const others = [tickLabel(12345.678, 1000), tickLabel(0.30000000000000004, 0), tickLabel(-1500, 500)];
  expect(others).toEqual(['12.3k', '0.3', '-1.5k']);
});

describe('the view of a run', () => {
  const metrics = (step: number): StepMetrics => ({
    step,
    loss: 2,
    gradNorm: 3,
    lr: 0.1,
    tokens: 100,
    ms: 50,
    bytesSent: {},
    spans: [],
    requests: { stop: false, save: false, sample: false },
  });
  const at = (run: RunView, step: number, ms: number): void =>
    run.apply(0, { kind: 'step', metrics: metrics(step), memoryBytes: 1 }, ms);
  const begin = (): RunView => {
    const run = new RunView(parseRunConfig([['steps', 10]]));
    run.opened(0, { kind: 'cpu', adapter: { vendor: '', architecture: '', description: 'cpu', software: true } });
    return run;
  };
  it('knows how long it trained and how long the rest will take; a pause is neither', () => {
    const run = begin();
    run.running(true, 0);
    expect(run.remainingMs).toBe(undefined);
    at(run, 0, 1000);
    at(run, 1, 2000);
    expect([run.elapsedMs(2500), run.remainingMs]).toEqual([2500, 8000]);
    run.running(false, 3000);
    expect(run.elapsedMs(9000)).toBe(3000);
    run.running(true, 100_000);
    at(run, 2, 101_000);
    at(run, 3, 102_000);
    expect([run.elapsedMs(102_000), run.remainingMs, run.tokens]).toEqual([5000, 6000, 400]);
    expect([run.gradNorm.last, run.learningRate.last]).toEqual([3, 0.1]);
  });
  it('takes over what was before the step that it goes on from', () => {
    const run = begin();
    const curve = { x: [1, 2, 3, 4], y: [9, 8, 7, 6] };
    run.recall(
      {
        curves: {
          loss: curve,
          evaluation: { x: [2, 4], y: [1, 2] },
          tokensPerSecond: curve,
          gradNorm: curve,
          learningRate: curve,
        },
        samples: [
          { step: 2, text: 'a' },
          { step: 4, text: 'b' },
        ],
        step: 4,
        tokens: 400,
        elapsedMs: 5000,
      },
      3,
    );
    expect([run.loss.x, run.evaluation.x, run.samples, run.step, run.tokens]).toEqual([
      [1, 2, 3],
      [2],
      [{ step: 2, text: 'a' }],
      3,
      300,
    ]);
    at(run, 3, 100);
    expect([run.loss.x, run.tokens]).toEqual([[1, 2, 3, 4], 400]);
    // Those of step 4, which comes again, are counted once.
    const again = begin();
    again.goOn(run, 3);
    expect(again.tokens).toBe(300);
    at(again, 3, 100);
    expect(again.tokens).toBe(400);
  });
});
