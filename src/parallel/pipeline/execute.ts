// Runs one rank's list of actions as the table of passes says: what an action needs is received, its result goes to
// the stages that need it. Sends are not waited for before the next action; receives are posted ahead, so that what is
// larger than a link takes unasked is under way while this rank computes, and waited for by the action that needs them.
// A barrier is a collective that an execution begins, and that the action waits for which needs its result; so ranks
// go on meanwhile. Nothing hangs on a timer. Every message is numbered by microbatch
// (since the groups began) and stage of the action that needs it, so the order of arrival does not matter. Bytes: one
// [R, hidden] per boundary, microbatch and direction.

import type { Group } from '../../collectives/group.ts';
import { InternalError, LayoutError } from '../../base/errors.ts';
import { messagesOf } from './messages.ts';
import type { Arrival, Delivery } from './messages.ts';
import { PASSES, formatAction, formatPass } from './passes.ts';
import type { Joined, Losses, StagePart } from './part.ts';
import { placementOf } from './placement.ts';
import type { StagePlacement } from './placement.ts';
import type { Action, PipelineShape, Schedule } from './schedule.ts';
import { assignSlots } from './slots.ts';

type F32 = Float32Array<ArrayBuffer>;
export type SpanKind = 'compute' | 'wait' | 'wire';
/** Called around work of this rank; returns the function that ends the span. */
export type Trace = (kind: SpanKind, name: string) => () => void;

/**
 * Receives of each kind that are posted ahead: one that arrives while an action runs, and the one after it. Each holds
 * rows * hidden * 4 bytes of this thread's memory.
 */
const POSTED_AHEAD = 2;

export interface PipelineRun {
  readonly schedule: Schedule;
  readonly shape: PipelineShape;
  /** By stage, what this rank holds. */
  readonly parts: ReadonlyMap<number, StagePart>;
  /** Point-to-point groups over the pp axis, one per direction. */
  readonly forwardGroup: Group;
  readonly backwardGroup: Group;
  /** Microbatches that ran before with these groups, on every rank: the number of the first one of this run. */
  readonly before: number;
  /**
   * Row losses of a microbatch, on the rank that tells them, and of a scored one which rows are right. Not always in
   * the order of the microbatches.
   */
  onLoss(microbatch: number, rowLosses: F32, correct?: readonly boolean[]): void;
  readonly trace: Trace;
  /** Called before each action. */
  onAction?(action: Action): void;
  /** Which of the schedule's passes run; all if absent. */
  readonly only?: (kind: Action['kind']) => boolean;
  /** Receives of each kind that are posted ahead of their actions. */
  readonly postedAhead?: number;
}

/**
 * Runs the actions of this rank in order. Resolves when the last one is done and everything is sent; rejects with the
 * first error, with LayoutError before the first action if a stage has no execution of a pass.
 */
export async function runActions(run: PipelineRun): Promise<void> {
  const { schedule, shape, parts, forwardGroup, only = () => true } = run;
  const placement = placementOf(schedule, shape);
  const lists = Array.from({ length: shape.ranks }, (_, rank) =>
    schedule.actions(rank, shape).filter(({ kind }) => only(kind)),
  );
  const actions = lists[forwardGroup.rank]!;
  refuseWithoutExecution(schedule, actions, parts);
  const { sets } = assignSlots(actions, placement);
  const { arrivals, deliveries } = messagesOf(lists, forwardGroup.rank, placement);
  const post = new Post(run, placement);
  const inbox = new Receives(post, actions, arrivals, run);
  const barriers = new Barriers(actions, placement);
  const tell = (microbatch: number, { losses, correct }: Losses): void => {
    if (losses) run.onLoss(microbatch, losses, correct);
  };
  for (const [i, action] of actions.entries()) {
    const { kind, stage, microbatch } = action;
    run.onAction?.(action);
    const received = (await inbox.take(action)) ?? (await barriers.take(action, run.trace));
    const end = run.trace('compute', `${formatPass(action)} stage ${stage}`);
    const result = await parts.get(stage)!.executions.get(kind)!({
      slots: sets[i]!,
      received,
      microbatch,
      // Collectives inside a plan; the span of the action goes on around them.
      onWire: (name) => run.trace('wire', name),
    });
    end();
    tell(microbatch, result);
    if (result.joined)
      barriers.begin(
        action,
        result.joined.then((joined) => {
          tell(microbatch, joined);
          return joined;
        }),
      );
    for (const delivery of deliveries.get(formatAction(action)) ?? []) {
      if (!result.out) throw new InternalError(`${formatAction(action)} gave nothing to send`);
      if (delivery.to === forwardGroup.rank) inbox.keep(delivery.action, result.out);
      else post.send(action, delivery, result.out);
    }
  }
  await barriers.ended();
  await post.sent();
}

/** Throws LayoutError that names the first pass for which this rank's part of a stage has no execution. */
export function refuseWithoutExecution(
  schedule: Schedule,
  actions: readonly Action[],
  parts: ReadonlyMap<number, StagePart>,
): void {
  for (const { kind, stage } of actions) {
    const part = parts.get(stage);
    if (part?.executions.has(kind)) continue;
    const known = part ? [...part.executions.keys()].join(', ') : 'none';
    throw new LayoutError(
      `schedule ${schedule.name}: expected passes for which stage ${stage} has a plan here (${known}), got ${kind}; ` +
        'choose another schedule',
    );
  }
}

/** What every message has in common: its group and its number. */
class Post {
  readonly #run: PipelineRun;
  readonly #placement: StagePlacement;
  readonly #sends: Promise<void>[] = [];

  constructor(run: PipelineRun, placement: StagePlacement) {
    this.#run = run;
    this.#placement = placement;
  }

  /** What the result of `source` is called on its way. */
  kindOf({ kind }: Action): 'activation' | 'gradient' {
    const { sends } = PASSES[kind];
    if (!sends) throw new InternalError(`the table of passes does not say what ${kind} sends`);
    return sends;
  }

  begin(source: Action, { microbatch, stage }: Action): ReturnType<Group['begin']> {
    const { before, forwardGroup, backwardGroup } = this.#run;
    const kind = this.kindOf(source);
    const seq = ((before + microbatch) * this.#placement.stages + stage) >>> 0;
    return (kind === 'activation' ? forwardGroup : backwardGroup).begin(kind, seq);
  }

  send(source: Action, { action, to }: Delivery, data: F32): void {
    const end = this.#run.trace('wire', `${this.kindOf(source)} ${action.microbatch} to stage ${action.stage}`);
    const sent = this.begin(source, action).send(to, 0, data).then(end);
    sent.catch(() => {});
    this.#sends.push(sent);
  }

  async sent(): Promise<void> {
    await Promise.all(this.#sends);
  }
}

/** The barriers that this rank takes part in, until the last action that needs them has begun. */
class Barriers {
  readonly #placement: StagePlacement;
  readonly #joined = new Map<string, Promise<Joined>>();
  /** By action, how many others on this rank need what it joins. */
  readonly #needed = new Map<string, number>();
  /** Each without what it gives, which is kept no longer than it is needed. */
  readonly #all: Promise<void>[] = [];

  constructor(actions: readonly Action[], placement: StagePlacement) {
    this.#placement = placement;
    for (const action of actions)
      for (const key of this.#of(action)) this.#needed.set(key, (this.#needed.get(key) ?? 0) + 1);
  }

  begin(action: Action, joined: Promise<Joined>): void {
    const ended = joined.then(() => undefined);
    // Whoever needs it, or the end of the run, hears of a failure.
    ended.catch(() => undefined);
    this.#all.push(ended);
    if (this.#needed.has(formatAction(action))) this.#joined.set(formatAction(action), joined);
  }

  /** What the barriers before `action` give this rank, when they have ended; undefined if there are none. */
  async take(action: Action, trace: Trace): Promise<F32 | undefined> {
    let received: F32 | undefined;
    for (const { action: needed, edge } of PASSES[action.kind].needs(action, this.#placement)) {
      if (edge !== 'barrier') continue;
      const key = formatAction(needed);
      const joined = this.#joined.get(key);
      if (!joined) throw new InternalError(`${formatAction(action)} before the barrier of ${key}`);
      const end = trace('wait', `barrier of ${formatPass(needed)}`);
      const { own, out } = await joined;
      end();
      received = needed.stage === action.stage ? own : out;
      const left = this.#needed.get(key)! - 1;
      this.#needed.set(key, left);
      if (left === 0) this.#joined.delete(key);
    }
    return received;
  }

  async ended(): Promise<void> {
    await Promise.all(this.#all);
  }

  #of(action: Action): readonly string[] {
    return PASSES[action.kind]
      .needs(action, this.#placement)
      .filter(({ edge }) => edge === 'barrier')
      .map(({ action: needed }) => formatAction(needed));
  }
}

interface Posted {
  readonly data: F32;
  /** Resolves when `data` is filled. */
  readonly taken: () => Promise<void>;
}

/** What this rank's actions need of other stages: posted in the order of the list, some of each kind ahead. */
class Receives {
  readonly #post: Post;
  readonly #arrivals: ReadonlyMap<string, Arrival>;
  readonly #run: PipelineRun;
  readonly #local = new Map<string, F32>();
  readonly #posted = new Map<string, Posted>();
  /** By kind, actions that need a message which is not posted yet. */
  readonly #waiting = new Map<string, Action[]>();

  constructor(post: Post, actions: readonly Action[], arrivals: ReadonlyMap<string, Arrival>, run: PipelineRun) {
    this.#post = post;
    this.#arrivals = arrivals;
    this.#run = run;
    for (const action of actions) {
      const arrival = arrivals.get(formatAction(action));
      if (!arrival || arrival.from === run.forwardGroup.rank) continue;
      const kind = post.kindOf(arrival.source);
      const queue = this.#waiting.get(kind);
      if (queue) queue.push(action);
      else this.#waiting.set(kind, [action]);
    }
    const { postedAhead = POSTED_AHEAD } = run;
    for (const kind of this.#waiting.keys()) for (let i = 0; i < postedAhead; i++) this.#next(kind);
  }

  /** A result of this rank that another of its stages needs. */
  keep(action: Action, data: F32): void {
    this.#local.set(formatAction(action), data);
  }

  /** What `action` needs of another stage, when it is there; undefined if nothing. */
  async take(action: Action): Promise<F32 | undefined> {
    const key = formatAction(action);
    const arrival = this.#arrivals.get(key);
    if (!arrival) return undefined;
    const { source, from } = arrival;
    if (from === this.#run.forwardGroup.rank) {
      const data = this.#local.get(key);
      if (!data) throw new InternalError(`${key} before ${formatAction(source)}`);
      this.#local.delete(key);
      return data;
    }
    const kind = this.#post.kindOf(source);
    if (!this.#posted.has(key)) this.#next(kind);
    const { data, taken } = this.#posted.get(key)!;
    this.#posted.delete(key);
    const end = this.#run.trace('wait', `${kind} ${action.microbatch} from stage ${source.stage}`);
    await taken();
    end();
    if (this.#run.postedAhead !== 0) this.#next(kind);
    return data;
  }

  #next(kind: string): void {
    const action = this.#waiting.get(kind)?.shift();
    if (!action) return;
    const { source, from } = this.#arrivals.get(formatAction(action))!;
    const data = new Float32Array(this.#run.parts.get(action.stage)!.floats);
    const taken = this.#post.begin(source, action).post(from, 0, data);
    this.#posted.set(formatAction(action), { data, taken });
  }
}
