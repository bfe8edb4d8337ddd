// Times of a schedule: the very lists that the runtime executes, with given durations. A rank runs its list in order;
// an action starts when the rank is free and what the table of passes says it needs has arrived. Exact for whole-number
// durations. Cost O(actions), times the ranks for barriers. Sending costs the sender no time, but a channel (one pair
// of ranks, one stream) holds at most `capacity` messages that were not taken; a rank whose message finds no room
// waits. A barrier takes no room: its collective is awaited by all. Where weights are not split off, a B takes the time
// of B plus W, so that schedules are compared at equal work.

import type { Action, PassKind, PipelineShape, Schedule } from './schedule.ts';
import { InternalError } from '../../base/errors.ts';
import { PASSES, formatAction, lifeOnBlocks, streamOf } from './passes.ts';
import type { Dependency, SlotClass } from './passes.ts';
import { placementOf } from './placement.ts';
import type { StagePlacement } from './placement.ts';
import { assignSlots } from './slots.ts';

/** Durations of the passes of one chunk, in any one unit; needed of the passes that the schedule has. */
export interface Timing extends Readonly<Partial<Record<PassKind, number>>> {
  readonly F: number;
  readonly B: number;
  readonly W: number;
  /** From the end of an action until its result is usable on another rank; a number, or drawn per message. */
  readonly comm?: number | ((from: Action, toRank: number) => number);
  /** Messages that a channel holds; unlimited if not given. */
  readonly capacity?: number;
}

export interface TimedAction extends Action {
  readonly start: number;
  readonly end: number;
}

export interface Simulation {
  readonly makespan: number;
  /** Per rank: time without an action, and time in actions; they add up to the makespan. */
  readonly idle: readonly number[];
  readonly busy: readonly number[];
  /** Idle over ideal time of the busiest rank. */
  readonly bubble: number;
  /** Per rank: most microbatches alive at once (F to the last pass that needs what F kept), summed over its chunks. */
  readonly peakLive: readonly number[];
  /** Per stage: most microbatches alive at once. */
  readonly peakLiveOfStage: readonly number[];
  /** Per rank: slots of each class in use at most, summed over its stages. */
  readonly peakSlots: readonly Readonly<Partial<Record<SlotClass, number>>>[];
  /** Per rank, in order of time. */
  readonly timeline: readonly (readonly TimedAction[])[];
  /** Messages that crossed between ranks; barriers send none here. */
  readonly messages: number;
}

export type Outcome =
  { readonly ok: true; readonly simulation: Simulation } | { readonly ok: false; readonly stuck: readonly string[] };

interface Channel {
  readonly puts: number[];
  readonly takes: number[];
}

interface Target {
  readonly to: number;
  readonly stream: string;
}

interface Rank {
  readonly list: readonly Action[];
  next: number;
  free: number;
  /** Consumers of the last action that have not got their message yet. */ unsent: Target[];
  last: TimedAction | undefined;
}

/** Like `simulate`, but a deadlock is a result: one line for every rank that waits for ever. */
export function trySimulate(schedule: Schedule, shape: PipelineShape, timing: Timing): Outcome {
  const placement = placementOf(schedule, shape);
  const ranks = Array.from({ length: shape.ranks }, (_, rank): Rank => ({
    list: schedule.actions(rank, shape),
    next: 0,
    free: 0,
    unsent: [],
    last: undefined,
  }));
  const consumers = messageTargets(
    ranks.map((rank) => rank.list),
    placement,
  );
  const timeline = ranks.map((): TimedAction[] => []);
  const channels = new Map<string, Channel>();
  const channel = (from: number, { to, stream }: Target): Channel => {
    const key = `${from}>${to} ${stream}`;
    if (!channels.has(key)) channels.set(key, { puts: [], takes: [] });
    return channels.get(key)!;
  };
  const capacity = timing.capacity ?? Infinity;
  const latency = (action: Action, to: number): number =>
    typeof timing.comm === 'function' ? timing.comm(action, to) : (timing.comm ?? 0);
  const results = resultsOf(placement, latency);
  let messages = 0;

  const send = (self: number): boolean => {
    const rank = ranks[self];
    while (rank.unsent.length > 0) {
      const target = rank.unsent[0];
      const { to } = target;
      const { puts, takes } = channel(self, target);
      const blocker = puts.length - capacity;
      if (blocker >= 0 && blocker >= takes.length) return false;
      const put = Math.max(rank.free, blocker >= 0 ? takes[blocker] : 0);
      const action = rank.last!;
      puts.push(put);
      results.arrive(action, to, put + latency(action, to));
      rank.free = put;
      rank.unsent.shift();
      messages++;
    }
    return true;
  };

  const step = (self: number): boolean => {
    const rank = ranks[self];
    const had = rank.unsent.length;
    if (!send(self)) return rank.unsent.length < had;
    if (rank.next === rank.list.length) return rank.unsent.length < had;
    const action = rank.list[rank.next];
    const needs = PASSES[action.kind].needs(action, placement);
    if (!needs.every((needed) => results.isThere(needed, self))) return rank.unsent.length < had;
    const start = Math.max(rank.free, ...needs.map((needed) => results.timeOf(needed, self)));
    for (const { action: from, edge } of needs) {
      const [host] = placement.hosts(from.stage);
      if (edge === 'p2p' && host !== self)
        channel(host, { to: self, stream: streamOf(action, from, placement) }).takes.push(start);
    }
    const timed = { ...action, start, end: start + durationOf(action, placement, timing) };
    timeline[self].push(timed);
    results.end(action, self, timed.end);
    rank.last = timed;
    rank.free = timed.end;
    rank.next++;
    rank.unsent = [...(consumers.get(formatAction(action)) ?? [])];
    return true;
  };

  for (let moved = true; moved;) {
    moved = false;
    for (let rank = 0; rank < shape.ranks; rank++) while (step(rank)) moved = true;
  }
  const stuck = ranks.flatMap((rank, self) => {
    if (rank.unsent.length > 0)
      return [
        `rank ${self} waits for room to send ${formatAction(rank.last!)} to rank ${rank.unsent[0].to} (capacity ${capacity})`,
      ];
    if (rank.next === rank.list.length) return [];
    const missing = PASSES[rank.list[rank.next].kind]
      .needs(rank.list[rank.next], placement)
      .filter((needed) => !results.isThere(needed, self));
    return [
      `rank ${self} waits with ${formatAction(rank.list[rank.next])} for ${missing.map(({ action }) => formatAction(action)).join(' and ')}`,
    ];
  });
  return stuck.length > 0 ? { ok: false, stuck } : { ok: true, simulation: summarise(placement, timeline, messages) };
}

/** Times `schedule`; throws InternalError on a deadlock. */
export function simulate(schedule: Schedule, shape: PipelineShape, timing: Timing): Simulation {
  schedule.check?.(shape);
  const outcome = trySimulate(schedule, shape, timing);
  if (!outcome.ok) throw new InternalError(`pipeline: ${schedule.name} deadlocks: ${outcome.stuck.join('; ')}`);
  return outcome.simulation;
}

interface Results {
  /** `action` ended on `rank`, which hosts its stage. */
  end(action: Action, rank: number, time: number): void;
  /** The message with the result of `action` came to `rank`. */
  arrive(action: Action, rank: number, time: number): void;
  /** Whether what `needed` names is there on `rank`, for all of its sources. */
  isThere(needed: Dependency, rank: number): boolean;
  /** Since when it is there. */
  timeOf(needed: Dependency, rank: number): number;
}

/** Where and when results of actions are there. */
function resultsOf({ hosts }: StagePlacement, latency: (action: Action, to: number) => number): Results {
  const ended = new Map<string, number>();
  const arrived = new Map<string, number>();
  const placed = (action: Action, rank: number): string => `${formatAction(action)} on ${rank}`;
  const sent = (action: Action, to: number): string => `${formatAction(action)}>${to}`;
  /** The ranks whose results of `action` rank `self` needs. */
  const sourcesOf = ({ action, edge }: Dependency, self: number): readonly number[] =>
    edge === 'same-rank' ? [self] : hosts(action.stage);
  return {
    end: (action, rank, time) => {
      ended.set(placed(action, rank), time);
    },
    arrive: (action, rank, time) => {
      arrived.set(sent(action, rank), time);
    },
    isThere: ({ action, edge }, self) =>
      edge === 'p2p' && !hosts(action.stage).includes(self)
        ? arrived.has(sent(action, self))
        : sourcesOf({ action, edge }, self).every((rank) => ended.has(placed(action, rank))),
    timeOf: ({ action, edge }, self) =>
      Math.max(
        ...sourcesOf({ action, edge }, self).map((rank) => {
          if (rank === self) return ended.get(placed(action, rank))!;
          if (edge === 'p2p') return arrived.get(sent(action, self))!;
          return ended.get(placed(action, rank))! + latency(action, self);
        }),
      ),
  };
}

function durationOf(action: Action, { passes }: StagePlacement, timing: Timing): number {
  return PASSES[action.kind].costs(passes).reduce((sum, kind) => {
    const time = timing[kind];
    if (time === undefined) throw new InternalError(`pipeline: ${formatAction(action)}: no time is given for ${kind}`);
    return sum + time;
  }, 0);
}

/** For each action the messages with its result to other ranks. */
function messageTargets(
  lists: readonly (readonly Action[])[],
  placement: StagePlacement,
): ReadonlyMap<string, readonly Target[]> {
  const targets = new Map<string, Target[]>();
  for (const [rank, list] of lists.entries()) {
    for (const action of list) {
      for (const { action: source, edge } of PASSES[action.kind].needs(action, placement)) {
        if (edge !== 'p2p' || placement.hosts(source.stage)[0] === rank) continue;
        const key = formatAction(source);
        targets.set(key, [...(targets.get(key) ?? []), { to: rank, stream: streamOf(action, source, placement) }]);
      }
    }
  }
  return targets;
}

function summarise(
  placement: StagePlacement,
  timeline: readonly (readonly TimedAction[])[],
  messages: number,
): Simulation {
  const { first, last } = lifeOnBlocks(placement.passes);
  const makespan = Math.max(0, ...timeline.map((actions) => actions.at(-1)?.end ?? 0));
  const busy = timeline.map((actions) => actions.reduce((sum, { start, end }) => sum + (end - start), 0));
  const idle = busy.map((time) => makespan - time);
  const peakLiveOfStage = new Array<number>(placement.chain).fill(0);
  const liveOfStage = new Array<number>(peakLiveOfStage.length).fill(0);
  const peakLive = timeline.map((actions) => {
    let live = 0;
    let peak = 0;
    for (const { kind, stage } of actions) {
      if (kind === first) {
        peak = Math.max(peak, ++live);
        peakLiveOfStage[stage] = Math.max(peakLiveOfStage[stage], ++liveOfStage[stage]);
      } else if (kind === last) {
        live--;
        liveOfStage[stage]--;
      }
    }
    return peak;
  });
  const peakSlots = timeline.map((actions) => {
    const sum: Partial<Record<SlotClass, number>> = {};
    for (const slots of assignSlots(actions, placement).peaks.values())
      for (const name of Object.keys(slots) as SlotClass[]) sum[name] = (sum[name] ?? 0) + slots[name]!;
    return sum;
  });
  const ideal = Math.max(0, ...busy);
  return {
    makespan,
    idle,
    busy,
    bubble: ideal === 0 ? 0 : (makespan - ideal) / ideal,
    peakLive,
    peakLiveOfStage,
    peakSlots,
    timeline,
    messages,
  };
}
