// Times of a schedule: the very lists that the runtime executes, with given durations. A rank runs its list in order;
// an action starts when the rank is free and what the table of passes says it needs has arrived. Exact for whole-number
// durations. Cost O(actions). Sending costs the sender no time; a link carries one message at a time each way. Either
// the sender waits for room: a channel (one pair of ranks, one stream) holds at most `capacity` messages that were not
// taken. Or, as in the runtime, the message waits: it leaves when its receiver has posted a receive for it, `posted` of
// them ahead. A barrier takes no room: its collective is awaited by all. Where weights are not split off, a B takes the
// time of B plus W, so that schedules are compared at equal work.

import type { Action, PassKind, PipelineShape, Schedule } from './schedule.ts';
import { InternalError } from '../../base/errors.ts';
import { PASSES, formatAction } from './passes.ts';
import type { SlotClass } from './passes.ts';
import { compile } from './simulator/compile.ts';
import type { Compiled, Instance } from './simulator/compile.ts';
import { memoryOf } from './simulator/memory.ts';

/** Of a pass on a stage: a number, or by stage and rank, as measured. */
export type Duration = number | ((stage: number, rank: number) => number);
/** Of a message: a number, or drawn for each. */
export type Latency = number | ((from: Action, toRank: number) => number);

/** Durations of the passes of one chunk, in any one unit; needed of the passes that the schedule has. */
export interface Timing extends Readonly<Partial<Record<PassKind, Duration>>> {
  readonly F: Duration;
  readonly B: Duration;
  readonly W: Duration;
  /** From the end of an action, or of the transfer, until its result is usable on another rank. */
  readonly comm?: Latency;
  /** How long a message occupies its link, which carries one at a time each way. */
  readonly transfer?: Latency;
  /** From the end of the last rank's pass until all have the result of its collective; `comm` if not given. */
  readonly collective?: Latency;
  /** Messages that a channel holds before the sender waits; unlimited if not given. */
  readonly capacity?: number;
  /** Receives of each stream that a rank posts ahead of its actions; messages leave at once if not given. */
  readonly posted?: number;
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
  /** Collectives over all ranks. */
  readonly barriers: number;
}

export type Outcome =
  { readonly ok: true; readonly simulation: Simulation } | { readonly ok: false; readonly stuck: readonly string[] };

/** Like `simulate`, but a deadlock is a result: one line for every rank that waits for ever. */
export function trySimulate(schedule: Schedule, shape: PipelineShape, timing: Timing): Outcome {
  const compiled = compile(schedule, shape);
  const clock = new Clock(compiled, timing);
  clock.run();
  const stuck = clock.stuck();
  return stuck.length > 0 ? { ok: false, stuck } : { ok: true, simulation: summarise(compiled, clock) };
}

/** When each action of a rank starts, in the order of its list; throws InternalError on a deadlock. */
export function startsOf(schedule: Schedule, shape: PipelineShape, timing: Timing): readonly Float64Array[] {
  const clock = new Clock(compile(schedule, shape), timing);
  clock.run();
  const stuck = clock.stuck();
  if (stuck.length > 0) throw new InternalError(`pipeline: ${schedule.name} deadlocks: ${stuck.join('; ')}`);
  return clock.starts;
}

/** Times `schedule`; throws InternalError on a deadlock. */
export function simulate(schedule: Schedule, shape: PipelineShape, timing: Timing): Simulation {
  schedule.check?.(shape);
  const outcome = trySimulate(schedule, shape, timing);
  if (!outcome.ok) throw new InternalError(`pipeline: ${schedule.name} deadlocks: ${outcome.stuck.join('; ')}`);
  return outcome.simulation;
}

function durationsOf({ instances, placement: { passes } }: Compiled, timing: Timing): Float64Array {
  return Float64Array.from(instances, ({ kind, stage, rank }) =>
    PASSES[kind].costs(passes).reduce((sum, part) => {
      const time = timing[part];
      if (time === undefined)
        throw new InternalError(
          `pipeline: ${formatAction({ kind, stage, microbatch: 0 })}: no time is given for ${part}`,
        );
      return sum + (typeof time === 'number' ? time : time(stage, rank));
    }, 0),
  );
}

/** Times that are not known yet. */
const unknown = (length: number): Float64Array => new Float64Array(length).fill(NaN);

class Clock {
  /** By rank and place in its list. */
  readonly starts: readonly Float64Array[];
  readonly durations: Float64Array;
  messages = 0;
  readonly #compiled: Compiled;
  readonly #timing: Timing;
  readonly #capacity: number;
  readonly #posted: number;
  /** By rank: place in its list, since when it is free, and targets of its last action that were sent to. */
  readonly #next: Int32Array;
  readonly #free: Float64Array;
  readonly #sent: Int32Array;
  /** By instance and microbatch, where others of the rank need it; where each instance begins, or -1. */
  readonly #ended: Float64Array;
  readonly #endedAt: Int32Array;
  /** By instance that gets messages, and microbatch. */
  readonly #arrived: Float64Array;
  readonly #arrivedAt: Int32Array;
  /** By barrier and microbatch: ranks that ended its pass, and the last end; then the end of the collective. */
  readonly #joined: Int32Array;
  readonly #joinedAt: Float64Array;
  /** By link: until when it carries something. */
  readonly #carries: Float64Array;
  readonly #linkOf: Int32Array;
  /** By channel: messages put, and when each was taken. */
  readonly #puts: Int32Array;
  readonly #takes: readonly number[][];
  /** By channel: messages that wait for a receive, in the order of the sender. */
  readonly #waiting: readonly { readonly code: number; readonly target: number; readonly put: number }[][];
  readonly #queue: number[] = [];
  readonly #queued: Uint8Array;

  constructor(compiled: Compiled, timing: Timing) {
    const { instances, lists, channels, barriers, microbatches: m } = compiled;
    this.#compiled = compiled;
    this.#timing = timing;
    this.#capacity = timing.capacity ?? Infinity;
    this.#posted = timing.posted ?? Infinity;
    this.durations = durationsOf(compiled, timing);
    this.starts = lists.map((list) => new Float64Array(list.length));
    this.#next = new Int32Array(lists.length);
    this.#free = new Float64Array(lists.length);
    this.#sent = new Int32Array(lists.length);
    this.#queued = new Uint8Array(lists.length);
    const needed = new Set(instances.flatMap(({ locals }) => locals));
    const places = (has: (instance: Instance, at: number) => boolean): [Int32Array, number] => {
      let count = 0;
      const at = Int32Array.from(instances, (instance, i) => (has(instance, i) ? count++ * m : -1));
      return [at, count * m];
    };
    const [endedAt, ended] = places((_, at) => needed.has(at));
    const [arrivedAt, arrived] = places(({ channel }) => channel !== undefined);
    [this.#endedAt, this.#ended] = [endedAt, unknown(ended)];
    [this.#arrivedAt, this.#arrived] = [arrivedAt, unknown(arrived)];
    this.#joined = new Int32Array(barriers.length * m);
    this.#joinedAt = new Float64Array(barriers.length * m);
    this.#puts = new Int32Array(channels.length);
    this.#takes = channels.map(() => []);
    this.#waiting = channels.map(() => []);
    // Where messages wait for receives, those of one stream may pass those of another.
    const links = new Map<string, number>();
    this.#linkOf = Int32Array.from(channels, ({ from, to, stream }) => {
      const key = this.#posted === Infinity ? `${from}>${to}` : `${from}>${to} ${stream}`;
      links.set(key, links.get(key) ?? links.size);
      return links.get(key)!;
    });
    this.#carries = new Float64Array(links.size);
  }

  run(): void {
    for (let rank = 0; rank < this.starts.length; rank++) this.#wake(rank);
    for (let at = 0; at < this.#queue.length; at++) {
      const rank = this.#queue[at]!;
      this.#queued[rank] = 0;
      this.#advance(rank);
      // The queue is a ring in effect: what is behind `at` is dropped now and then.
      if (at > 65_536) {
        this.#queue.splice(0, at + 1);
        at = -1;
      }
    }
  }

  /** One line for every rank that waits for ever. */
  stuck(): readonly string[] {
    const { lists, instances, channels, placement, actionOf } = this.#compiled;
    const { microbatches: m } = this.#compiled;
    return lists.flatMap((list, rank) => {
      const next = this.#next[rank]!;
      const last = next === 0 ? undefined : list[next - 1]!;
      const targets = last === undefined ? [] : instances[Math.floor(last / m)]!.targets;
      if (this.#sent[rank]! < targets.length) {
        const { to } = channels[instances[targets[this.#sent[rank]!]!]!.channel!]!;
        return [
          `rank ${rank} waits for room to send ${formatAction(actionOf(last!))} to rank ${to} (capacity ${this.#capacity})`,
        ];
      }
      if (next === list.length) return [];
      const code = list[next]!;
      const action = actionOf(code);
      const missing = PASSES[action.kind]
        .needs(action, placement)
        .filter((needed) => !this.#isThere(code, needed.edge, placement.hosts(needed.action.stage)[0] === rank));
      return [
        `rank ${rank} waits with ${formatAction(action)} for ${missing.map(({ action: needed }) => formatAction(needed)).join(' and ')}`,
      ];
    });
  }

  #wake(rank: number): void {
    if (this.#queued[rank]) return;
    this.#queued[rank] = 1;
    this.#queue.push(rank);
  }

  /** Runs a rank's list until it has to wait. */
  #advance(rank: number): void {
    const { lists, instances, microbatches: m } = this.#compiled;
    const list = lists[rank]!;
    const starts = this.starts[rank]!;
    for (;;) {
      const next = this.#next[rank]!;
      if (next > 0 && !this.#send(rank, list[next - 1]!)) return;
      if (next === list.length) return;
      const code = list[next]!;
      const at = Math.floor(code / m);
      const microbatch = code - at * m;
      const instance = instances[at]!;
      const start = this.#readyAt(instance, at, microbatch, this.#free[rank]!);
      if (Number.isNaN(start)) return;
      if (instance.channel !== undefined) this.#take(instance.channel, start);
      const end = start + this.durations[at]!;
      starts[next] = start;
      this.#free[rank] = end;
      this.#next[rank] = next + 1;
      this.#sent[rank] = 0;
      if (this.#endedAt[at]! >= 0) this.#ended[this.#endedAt[at]! + microbatch] = end;
      if (instance.joins !== undefined) this.#join(instance.joins, microbatch, end);
    }
  }

  /** When an action may start, or NaN if that is not known yet. */
  #readyAt({ locals, channel, barriers }: Instance, at: number, microbatch: number, free: number): number {
    const { microbatches: m, barriers: all } = this.#compiled;
    let start = free;
    for (let i = 0; i < locals.length; i++) {
      const end = this.#ended[this.#endedAt[locals[i]!]! + microbatch]!;
      if (!(end <= start)) start = end;
      if (Number.isNaN(end)) return end;
    }
    if (channel !== undefined) {
      const time = this.#arrived[this.#arrivedAt[at]! + microbatch]!;
      if (Number.isNaN(time)) return time;
      if (time > start) start = time;
    }
    for (let i = 0; i < barriers.length; i++) {
      const barrier = barriers[i]!;
      if (this.#joined[barrier * m + microbatch]! < all[barrier]!.hosts) return NaN;
      const time = this.#joinedAt[barrier * m + microbatch]!;
      if (time > start) start = time;
    }
    return start;
  }

  #isThere(code: number, edge: string, local: boolean): boolean {
    const { instances, microbatches: m, barriers } = this.#compiled;
    const at = Math.floor(code / m);
    const { locals, barriers: awaited } = instances[at]!;
    if (edge === 'barrier')
      return awaited.every((barrier) => this.#joined[barrier * m + (code % m)]! === barriers[barrier]!.hosts);
    if (edge === 'p2p' && !local) return !Number.isNaN(this.#arrived[this.#arrivedAt[at]! + (code % m)]!);
    return locals.every((one) => !Number.isNaN(this.#ended[this.#endedAt[one]! + (code % m)]!));
  }

  #join(barrier: number, microbatch: number, end: number): void {
    const { barriers, microbatches: m } = this.#compiled;
    const at = barrier * m + microbatch;
    if (end > this.#joinedAt[at]!) this.#joinedAt[at] = end;
    const { hosts, kind, stage } = barriers[barrier]!;
    if (++this.#joined[at]! < hosts) return;
    const { collective = this.#timing.comm } = this.#timing;
    // A collective among one rank sends nothing.
    if (hosts > 1) this.#joinedAt[at]! += latencyOf(collective, { kind, stage, microbatch }, 0);
    for (let rank = 0; rank < hosts; rank++) this.#wake(rank);
  }

  /** Sends the result of the last action of `rank` to whom needs it; false if that has to wait. */
  #send(rank: number, code: number): boolean {
    const { instances, channels, microbatches: m } = this.#compiled;
    const { targets } = instances[Math.floor(code / m)]!;
    while (this.#sent[rank]! < targets.length) {
      const target = targets[this.#sent[rank]!]!;
      const channel = instances[target]!.channel!;
      const takes = this.#takes[channel]!;
      const blocker = this.#puts[channel]! - this.#capacity;
      if (blocker >= takes.length) return false;
      if (blocker >= 0 && takes[blocker]! > this.#free[rank]!) this.#free[rank] = takes[blocker]!;
      this.#puts[channel]!++;
      this.#sent[rank]!++;
      this.messages++;
      const message = { code, target, put: this.#free[rank]! };
      if (this.#posted === Infinity) this.#transfer(message, message.put);
      else {
        this.#waiting[channel]!.push(message);
        this.#grant(channel);
      }
      this.#wake(channels[channel]!.to);
    }
    return true;
  }

  /** Lets go what has a receive: the k-th message of a channel has one when the (k - posted)-th was taken. */
  #grant(channel: number): void {
    const waiting = this.#waiting[channel]!;
    const takes = this.#takes[channel]!;
    while (waiting.length > 0) {
      const earlier = this.#puts[channel]! - waiting.length - this.#posted;
      if (earlier >= takes.length) return;
      const message = waiting.shift()!;
      this.#transfer(message, earlier < 0 ? message.put : Math.max(message.put, takes[earlier]!));
    }
  }

  #transfer({ code, target }: { readonly code: number; readonly target: number }, from: number): void {
    const { instances, channels, microbatches: m, actionOf } = this.#compiled;
    const { comm, transfer } = this.#timing;
    const channel = instances[target]!.channel!;
    const { to } = channels[channel]!;
    const action = typeof comm === 'function' || typeof transfer === 'function' ? actionOf(code) : ANY;
    const link = this.#linkOf[channel]!;
    let end = from;
    if (transfer !== undefined) {
      end = Math.max(from, this.#carries[link]!) + latencyOf(transfer, action, to);
      this.#carries[link] = end;
    }
    this.#arrived[this.#arrivedAt[target]! + (code % m)] = end + latencyOf(comm, action, to);
  }

  #take(channel: number, time: number): void {
    if (this.#capacity === Infinity && this.#posted === Infinity) return;
    const { channels } = this.#compiled;
    this.#takes[channel]!.push(time);
    this.#grant(channel);
    this.#wake(channels[channel]!.from);
    this.#wake(channels[channel]!.to);
  }
}

const ANY: Action = { kind: 'F', stage: 0, microbatch: 0 };

const latencyOf = (latency: Latency | undefined, from: Action, to: number): number =>
  typeof latency === 'function' ? latency(from, to) : (latency ?? 0);

function summarise(compiled: Compiled, { starts, durations, messages }: Clock): Simulation {
  const { lists, microbatches: m, actionOf, barriers } = compiled;
  const durationOf = (code: number): number => durations[Math.floor(code / m)]!;
  let makespan = 0;
  const busy = lists.map((list, rank) => {
    if (list.length > 0) makespan = Math.max(makespan, starts[rank]!.at(-1)! + durationOf(list.at(-1)!));
    return list.reduce((sum, code) => sum + durationOf(code), 0);
  });
  const ideal = busy.reduce((most, time) => Math.max(most, time), 0);
  let timeline: readonly (readonly TimedAction[])[] | undefined;
  return {
    makespan,
    idle: busy.map((time) => makespan - time),
    busy,
    bubble: ideal === 0 ? 0 : (makespan - ideal) / ideal,
    ...memoryOf(compiled),
    // Made when it is asked for: it is far larger than the rest.
    get timeline() {
      timeline ??= lists.map((list, rank) =>
        Array.from(list, (code, i): TimedAction => {
          const start = starts[rank]![i]!;
          return { ...actionOf(code), start, end: start + durationOf(code) };
        }),
      );
      return timeline;
    },
    messages,
    barriers: barriers.length * m,
  };
}
