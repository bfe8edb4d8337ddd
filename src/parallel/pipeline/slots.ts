// Which slot of each class every action of a rank uses, found from its list alone before anything runs: the lowest that
// is free. So memory and bind groups are known ahead, and execution only looks them up.

import { InternalError } from '../../base/errors.ts';
import type { SlotClasses } from '../../device/storage/slots.ts';
import { PASSES, formatAction, slotLives } from './passes.ts';
import type { SlotClass } from './passes.ts';
import type { StagePlacement } from './placement.ts';
import type { Action } from './schedule.ts';

/** One slot of each class that is held. */
export type SlotSet = Readonly<Partial<Record<SlotClass, number>>>;

export interface SlotUse {
  /** By action of the list. */
  readonly sets: readonly SlotSet[];
  /** By stage: how many slots of each class are in use at most. */
  readonly peaks: ReadonlyMap<number, SlotSet>;
}

/**
 * A list may hold a part of a schedule's passes, the forwards alone say: then a slot is free again after the last pass
 * of its class that is listed. Throws InternalError if a pass uses what none before it has taken.
 */
export function assignSlots(actions: readonly Action[], { passes }: StagePlacement): SlotUse {
  const listed = new Set(actions.map(formatAction));
  const held = new Map<string, Map<SlotClass, number>>();
  const taken = new Map<string, Set<number>>();
  const peaks = new Map<number, Partial<Record<SlotClass, number>>>();
  const take = (stage: number, name: SlotClass): number => {
    const key = `${stage} ${name}`;
    const used = taken.get(key) ?? new Set<number>();
    taken.set(key, used);
    let slot = 0;
    while (used.has(slot)) slot++;
    used.add(slot);
    const peak = peaks.get(stage) ?? {};
    peaks.set(stage, peak);
    peak[name] = Math.max(peak[name] ?? 0, slot + 1);
    return slot;
  };
  const sets = actions.map((action): SlotSet => {
    const { kind, stage, microbatch } = action;
    const key = `${stage} ${microbatch}`;
    const own = held.get(key) ?? new Map<SlotClass, number>();
    held.set(key, own);
    for (const name of PASSES[kind].takes(passes)) own.set(name, take(stage, name));
    const lives = [...slotLives(passes, PASSES[kind].part)].filter(([, kinds]) => kinds.includes(kind));
    for (const [name] of lives) {
      if (!own.has(name))
        throw new InternalError(`pipeline: ${formatAction(action)} uses ${name}, which no pass before it has taken`);
    }
    const set = Object.fromEntries(own);
    for (const [name, kinds] of lives) {
      if (kinds.findLast((each) => listed.has(formatAction({ ...action, kind: each }))) !== kind) continue;
      taken.get(`${stage} ${name}`)!.delete(own.get(name)!);
      own.delete(name);
    }
    return set;
  });
  return { sets, peaks };
}

/**
 * By stage: the slots of its programs, as Program takes them: how many of each class, and which combinations of them
 * the list makes each pass run in.
 */
export function stageSlots(actions: readonly Action[], placement: StagePlacement): (stage: number) => SlotClasses {
  const { sets, peaks } = assignSlots(actions, placement);
  return (stage) => {
    const sorted = new Map<string, SlotSet[]>();
    for (const [i, action] of actions.entries()) {
      if (action.stage !== stage) continue;
      const known = sorted.get(action.kind);
      if (known) known.push(sets[i]!);
      else sorted.set(action.kind, [sets[i]!]);
    }
    const classes = [...slotLives(placement.passes, placement.part(stage))].map(([name, plans]) => ({
      name,
      plans,
      count: peaks.get(stage)?.[name] ?? 0,
    }));
    return { classes, sets: sorted };
  };
}
