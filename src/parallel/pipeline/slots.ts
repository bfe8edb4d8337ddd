// How many microbatches a rank has in flight at most, from its list of actions: the slots its stages need.

import type { Action } from './schedule.ts';

/** Largest number of microbatches of `stage` between their F and their last backward action. */
export function slotsNeeded(actions: readonly Action[], stage: number): number {
  const own = actions.filter((action) => action.stage === stage);
  const last = new Map<number, Action>();
  for (const action of own) if (action.kind === 'B' || action.kind === 'W') last.set(action.microbatch, action);
  let live = 0;
  let peak = 0;
  for (const action of own) {
    if (action.kind === 'F') peak = Math.max(peak, ++live);
    else if (last.get(action.microbatch) === action) live--;
  }
  return peak;
}
