// Discrete-event simulation of a schedule: the very lists that the runtime executes, with given durations. A rank runs
// its list in order; an action starts when the rank is free and its inputs have arrived. Exact for whole-number
// durations. Cost O(actions). Sending costs the sender no time, but a channel (one pair of ranks, one direction) holds
// at most `capacity` messages that were not taken; a rank whose message finds no room waits. With fused weights a B
// action takes the time of B plus W, so that schedules are compared at equal work.

import type { Action, PipelineShape, Schedule } from './schedule.ts';
import { InternalError } from '../../base/errors.ts';
import { formatAction, inputsOf, rankOfStage, releasingKind } from './dependencies.ts';

export interface Timing {
  /** Durations of the forward, the backward for inputs and the backward for weights of one chunk, in any one unit. */
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
  /** Per rank: most chunk activations alive at once, summed over the rank's chunks. */
  readonly peakLive: readonly number[];
  /** Per stage: most microbatches alive at once. */
  readonly peakLiveOfStage: readonly number[];
  /** Per rank, in order of time. */
  readonly timeline: readonly (readonly TimedAction[])[];
  /** Messages that crossed between ranks. */
  readonly messages: number;
}

export type Outcome =
  { readonly ok: true; readonly simulation: Simulation } | { readonly ok: false; readonly stuck: readonly string[] };

interface Channel {
  readonly puts: number[];
  readonly takes: number[];
}

interface Rank {
  readonly list: readonly Action[];
  next: number;
  free: number;
  /** Consumers' ranks of the last action that have not got their message yet. */ unsent: number[];
  last: TimedAction | undefined;
}

/** Like `simulate`, but a deadlock is a result: one line for every rank that waits for ever. */
export function trySimulate(schedule: Schedule, shape: PipelineShape, timing: Timing): Outcome {
  const stageRank = rankOfStage(schedule, shape);
  const ranks = Array.from({ length: shape.ranks }, (_, rank): Rank => ({
    list: schedule.actions(rank, shape),
    next: 0,
    free: 0,
    unsent: [],
    last: undefined,
  }));
  const consumers = messageTargets(
    ranks.map((rank) => rank.list),
    shape,
    stageRank,
  );
  const timeline = ranks.map((): TimedAction[] => []);
  const ended = new Map<string, number>();
  /** Arrival of the result of an action on another rank. */
  const arrived = new Map<string, number>();
  const channels = new Map<string, Channel>();
  const channel = (from: number, to: number): Channel => {
    const key = `${from}>${to}`;
    if (!channels.has(key)) channels.set(key, { puts: [], takes: [] });
    return channels.get(key)!;
  };
  const capacity = timing.capacity ?? Infinity;
  const duration = (action: Action) =>
    action.kind === 'B' && !schedule.splitsWeights ? timing.B + timing.W : timing[action.kind as 'F' | 'B' | 'W'];
  let messages = 0;

  const send = (self: number): boolean => {
    const rank = ranks[self];
    while (rank.unsent.length > 0) {
      const to = rank.unsent[0];
      const { puts, takes } = channel(self, to);
      const blocker = puts.length - capacity;
      if (blocker >= 0 && blocker >= takes.length) return false;
      const put = Math.max(rank.free, blocker >= 0 ? takes[blocker] : 0);
      const action = rank.last!;
      puts.push(put);
      arrived.set(
        `${formatAction(action)}>${to}`,
        put + (typeof timing.comm === 'function' ? timing.comm(action, to) : (timing.comm ?? 0)),
      );
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
    let start = rank.free;
    const taken: number[] = [];
    for (const input of inputsOf(action, shape)) {
      const from = stageRank[input.stage]!;
      const time = from === self ? ended.get(formatAction(input)) : arrived.get(`${formatAction(input)}>${self}`);
      if (time === undefined) return rank.unsent.length < had;
      start = Math.max(start, time);
      if (from !== self) taken.push(from);
    }
    for (const from of taken) channel(from, self).takes.push(start);
    const timed = { ...action, start, end: start + duration(action) };
    timeline[self].push(timed);
    ended.set(formatAction(action), timed.end);
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
        `rank ${self} waits for room to send ${formatAction(rank.last!)} to rank ${rank.unsent[0]} (capacity ${capacity})`,
      ];
    if (rank.next === rank.list.length) return [];
    const missing = inputsOf(rank.list[rank.next], shape).filter(
      (input) =>
        !(stageRank[input.stage] === self
          ? ended.has(formatAction(input))
          : arrived.has(`${formatAction(input)}>${self}`)),
    );
    return [
      `rank ${self} waits with ${formatAction(rank.list[rank.next])} for ${missing.map(formatAction).join(' and ')}`,
    ];
  });
  return stuck.length > 0
    ? { ok: false, stuck }
    : { ok: true, simulation: summarise(schedule, shape, timeline, messages) };
}

/** Times `schedule`; throws InternalError on a deadlock. */
export function simulate(schedule: Schedule, shape: PipelineShape, timing: Timing): Simulation {
  schedule.check?.(shape);
  const outcome = trySimulate(schedule, shape, timing);
  if (!outcome.ok) throw new InternalError(`pipeline: ${schedule.name} deadlocks: ${outcome.stuck.join('; ')}`);
  return outcome.simulation;
}

/** For each action the other ranks that read its result. */
function messageTargets(
  lists: readonly (readonly Action[])[],
  shape: PipelineShape,
  stageRank: readonly (number | undefined)[],
): ReadonlyMap<string, readonly number[]> {
  const targets = new Map<string, number[]>();
  for (const [rank, list] of lists.entries()) {
    for (const action of list) {
      for (const input of inputsOf(action, shape)) {
        if (stageRank[input.stage] === rank) continue;
        const key = formatAction(input);
        targets.set(key, [...(targets.get(key) ?? []), rank]);
      }
    }
  }
  return targets;
}

function summarise(
  schedule: Schedule,
  shape: PipelineShape,
  timeline: readonly (readonly TimedAction[])[],
  messages: number,
): Simulation {
  const releasing = releasingKind(schedule);
  const makespan = Math.max(0, ...timeline.map((actions) => actions.at(-1)?.end ?? 0));
  const busy = timeline.map((actions) => actions.reduce((sum, { start, end }) => sum + (end - start), 0));
  const idle = busy.map((time) => makespan - time);
  const peakLiveOfStage = new Array<number>(shape.ranks * shape.chunks).fill(0);
  const liveOfStage = new Array<number>(peakLiveOfStage.length).fill(0);
  const peakLive = timeline.map((actions) => {
    let live = 0;
    let peak = 0;
    for (const { kind, stage } of actions) {
      if (kind === 'F') {
        peak = Math.max(peak, ++live);
        peakLiveOfStage[stage] = Math.max(peakLiveOfStage[stage], ++liveOfStage[stage]);
      } else if (kind === releasing) {
        live--;
        liveOfStage[stage]--;
      }
    }
    return peak;
  });
  const ideal = Math.max(0, ...busy);
  return {
    makespan,
    idle,
    busy,
    bubble: ideal === 0 ? 0 : (makespan - ideal) / ideal,
    peakLive,
    peakLiveOfStage,
    timeline,
    messages,
  };
}
