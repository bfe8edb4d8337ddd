// What the ranks keep of their microbatches, from their lists alone: the order of its actions decides, not their times.

import { PASSES, lifeOnBlocks } from '../passes.ts';
import type { SlotClass } from '../passes.ts';
import type { Compiled } from './compile.ts';

export interface Memory {
  readonly peakLive: readonly number[];
  readonly peakLiveOfStage: readonly number[];
  readonly peakSlots: readonly Readonly<Partial<Record<SlotClass, number>>>[];
}

/** The peaks of a simulation. A slot is the lowest that is free: of a class there are as many as are in use at once. */
export function memoryOf({ instances, lists, microbatches: m, placement }: Compiled): Memory {
  const { first, last } = lifeOnBlocks(placement.passes);
  // By instance: what it does to the count of live microbatches, and to the counters of its stage's classes.
  const counters = new Map<string, number>();
  const names: SlotClass[] = [];
  const ranks: number[] = [];
  const counterOf = (rank: number, stage: number, name: SlotClass): number => {
    const key = `${rank} ${stage} ${name}`;
    if (!counters.has(key)) {
      counters.set(key, names.length);
      names.push(name);
      ranks.push(rank);
    }
    return counters.get(key)!;
  };
  const effects = instances.map(({ rank, stage, kind }) => ({
    stage,
    live: kind === first ? 1 : kind === last ? -1 : 0,
    takes: PASSES[kind].takes(placement.passes).map((name) => counterOf(rank, stage, name)),
    frees: PASSES[kind].frees(placement.passes).map((name) => counterOf(rank, stage, name)),
  }));
  const used = new Int32Array(names.length);
  const most = new Int32Array(names.length);
  const liveOfStage = new Int32Array(placement.stages);
  const peakLiveOfStage = new Array<number>(placement.chain).fill(0);
  const peakLive = lists.map((list) => {
    let [live, peak] = [0, 0];
    for (const code of list) {
      const { stage, live: change, takes, frees } = effects[Math.floor(code / m)]!;
      for (let i = 0; i < takes.length; i++) {
        const now = ++used[takes[i]!]!;
        if (now > most[takes[i]!]!) most[takes[i]!] = now;
      }
      for (let i = 0; i < frees.length; i++) used[frees[i]!]!--;
      if (change === 0) continue;
      live += change;
      liveOfStage[stage]! += change;
      if (live > peak) peak = live;
      if (liveOfStage[stage]! > peakLiveOfStage[stage]!) peakLiveOfStage[stage] = liveOfStage[stage]!;
    }
    return peak;
  });
  const peakSlots = lists.map((): Partial<Record<SlotClass, number>> => ({}));
  for (const [i, name] of names.entries()) {
    const slots = peakSlots[ranks[i]!]!;
    slots[name] = (slots[name] ?? 0) + most[i]!;
  }
  return { peakLive, peakLiveOfStage, peakSlots };
}
