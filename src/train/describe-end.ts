// The end of a run in words, for the command line and the page. Apart from run.ts, so that a page does not load the trainer for a sentence.

import type { RunEvent } from './run.ts';

/** 'trained 60 steps', 'stopped after 6 steps', 'trained 40 steps, 100 in all'. */
export function describeEnd({ steps, from, stopped }: Extract<RunEvent, { kind: 'done' }>): string {
  const here = steps - from;
  return `${stopped ? 'stopped after' : 'trained'} ${here} step${here === 1 ? '' : 's'}${from > 0 ? `, ${steps} in all` : ''}`;
}
