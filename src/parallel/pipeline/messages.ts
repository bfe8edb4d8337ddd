// The messages of one rank, found from the lists of all: whom each action's result goes to, and where what it needs
// comes from. A pass gets at most one message or result of another stage.

import { PASSES, formatAction } from './passes.ts';
import type { StagePlacement } from './placement.ts';
import type { Action } from './schedule.ts';

export interface Arrival {
  /** The action whose result it is, and the rank that it is made on. */
  readonly source: Action;
  readonly from: number;
}

export interface Delivery {
  readonly action: Action;
  readonly to: number;
}

export interface Messages {
  /** By action of the rank; absent where it needs the result of no other stage. */
  readonly arrivals: ReadonlyMap<string, Arrival>;
  /** By action of the rank; those that need its result, also on the rank itself. */
  readonly deliveries: ReadonlyMap<string, readonly Delivery[]>;
}

/** `lists`: the actions of each rank. */
export function messagesOf(lists: readonly (readonly Action[])[], rank: number, placement: StagePlacement): Messages {
  const arrivals = new Map<string, Arrival>();
  const deliveries = new Map<string, Delivery[]>();
  for (const [to, list] of lists.entries()) {
    for (const action of list) {
      for (const { action: source, edge } of PASSES[action.kind].needs(action, placement)) {
        if (edge !== 'p2p') continue;
        const [from] = placement.hosts(source.stage);
        if (to === rank) arrivals.set(formatAction(action), { source, from });
        if (from !== rank) continue;
        const known = deliveries.get(formatAction(source));
        if (known) known.push({ action, to });
        else deliveries.set(formatAction(source), [{ action, to }]);
      }
    }
  }
  return { arrivals, deliveries };
}
