// The end of a run and its evaluations in words, for the command line and the page. Apart from run.ts, so that a page
// does not load the trainer for a sentence.

import type { RunEvent } from './run.ts';

/** 'trained 60 steps', 'stopped after 6 steps', 'trained 40 steps, 100 in all'. */
export function describeEnd({ steps, from, stopped }: Extract<RunEvent, { kind: 'done' }>): string {
  const here = steps - from;
  return `${stopped ? 'stopped after' : 'trained'} ${here} step${here === 1 ? '' : 's'}${from > 0 ? `, ${steps} in all` : ''}`;
}

/** 'held-out loss 2.1034', of a task 'held-out loss 0.1234, accuracy 98.4 %'. */
export function describeEvaluation({ loss, accuracy }: Extract<RunEvent, { kind: 'evaluation' }>): string {
  return `held-out loss ${loss.toFixed(4)}${accuracy === undefined ? '' : `, accuracy ${formatAccuracy(accuracy)}`}`;
}

/** A share of 0 to 1 as '98.4 %'. Only all is '100.0 %': rounding must not make it of what is nearly all. */
export function formatAccuracy(share: number): string {
  return `${(share < 1 ? Math.min(99.9, 100 * share) : 100).toFixed(1)} %`;
}
