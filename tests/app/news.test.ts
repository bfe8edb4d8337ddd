// What those who watch a run are told of its evaluations: the held-out loss, and the accuracy of a task.

import { expect, it } from 'vitest';
import { makeJob } from '../../src/app/training/job.ts';
import { applyProgress, historyOf, viewOf } from '../../src/app/training/room/news.ts';
import { RunView } from '../../src/app/training/run-view.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

function told(data: string, accuracy?: number): RunView {
  const config = parseRunConfig([
    ['data', data],
    ['layout', 'dp=2'],
  ]);
  const run = new RunView(config);
  run.evaluation.push(2, 1.5);
  if (accuracy !== undefined) run.accuracy.push(2, accuracy);
  return viewOf(JSON.parse(JSON.stringify(historyOf(run, makeJob(config))))).run;
}

it('a history and progress have the accuracy of a task, once a step', () => {
  const view = told('copy', 0.25);
  const progress = { kind: 'progress', step: 4, loss: 1, tokensPerSecond: 1, evaluation: [4, 1.2], accuracy: [4, 0.5] };
  applyProgress(view, progress);
  applyProgress(view, progress);
  expect([view.accuracy.x, view.accuracy.y, view.evaluation.y]).toEqual([
    [2, 4],
    [0.25, 0.5],
    [1.5, 1.2],
  ]);
  expect(() => applyProgress(view, { ...progress, accuracy: 0.5 })).toThrow('expected `accuracy` to be a list');
});

it('of a text there is none', () => {
  const view = told('moby-dick');
  applyProgress(view, { kind: 'progress', step: 4, loss: 1, tokensPerSecond: 1, evaluation: [4, 1.2] });
  expect([view.accuracy.length, view.evaluation.y]).toEqual([0, [1.5, 1.2]]);
});
