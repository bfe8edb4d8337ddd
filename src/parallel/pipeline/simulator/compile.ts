// A schedule's lists and the table of passes as numbers, so that a thousand ranks with thousands of microbatches are
// timed and checked in seconds. An instance is a pass of a stage on one rank; an action is the code
// instance * microbatches + microbatch.

import { InternalError } from '../../../base/errors.ts';
import { PASSES, formatAction, passesOf, streamOf } from '../passes.ts';
import { placementOf } from '../placement.ts';
import type { StagePlacement } from '../placement.ts';
import type { Action, PassKind, PipelineShape, Schedule } from '../schedule.ts';

export interface Instance {
  readonly rank: number;
  readonly stage: number;
  readonly kind: PassKind;
  /** Instances of this rank whose results it needs. */
  readonly locals: readonly number[];
  /** The message that it needs: its channel. */
  readonly channel?: number;
  /** Barriers that it waits for. */
  readonly barriers: readonly number[];
  /** The barrier that it takes part in, if any waits for its pass. */
  joins?: number;
  /** Instances on other ranks that get a message with its result. */
  readonly targets: number[];
}

/** A stream of messages from one rank to another. */
export interface Channel {
  readonly from: number;
  readonly to: number;
  readonly stream: string;
}

/** A collective over all hosts of a stage, at the end of one of its passes. */
export interface Barrier {
  readonly stage: number;
  readonly kind: PassKind;
  readonly hosts: number;
}

export interface Compiled {
  readonly placement: StagePlacement;
  readonly microbatches: number;
  readonly instances: readonly Instance[];
  readonly channels: readonly Channel[];
  readonly barriers: readonly Barrier[];
  /** By rank, the codes of its actions in order. */
  readonly lists: readonly Int32Array[];
  actionOf(code: number): Action;
}

/** The instances of a schedule; their lists are coded by `code`. */
export interface Instances extends Omit<Compiled, 'lists'> {
  /** -1 if the rank runs no such pass of such a stage. */
  instanceOf(rank: number, stage: number, kind: PassKind): number;
}

export function instancesOf(schedule: Schedule, shape: PipelineShape): Instances {
  const placement = placementOf(schedule, shape);
  const { microbatches } = shape;
  const index = new Map<PassKind, number>(schedule.passes.map((kind, i) => [kind, i]));
  const width = schedule.passes.length;
  // By stage and pass: its first instance, and how many there are.
  const first = new Int32Array(placement.stages * width).fill(-1);
  const instances: Instance[] = [];
  const where: { readonly rank: number; readonly stage: number; readonly kind: PassKind }[] = [];
  for (let stage = 0; stage < placement.stages; stage++) {
    const hosts = placement.hosts(stage);
    for (const kind of passesOf(placement.passes, placement.part(stage))) {
      first[stage * width + index.get(kind)!] = where.length;
      for (const rank of hosts) where.push({ rank, stage, kind });
    }
  }
  // By stage: its host, or -1 where all ranks host it.
  const hostOf = Int32Array.from({ length: placement.stages }, (_, stage) => {
    const hosts = placement.hosts(stage);
    return placement.part(stage) === 'blocks' ? (hosts[0] ?? -2) : -1;
  });
  const instanceOf = (rank: number, stage: number, kind: PassKind): number => {
    const at = index.get(kind);
    const begin = at === undefined || !(stage >= 0 && stage < placement.stages) ? -1 : first[stage * width + at]!;
    if (begin < 0) return -1;
    const host = hostOf[stage]!;
    if (host === -1) return begin + rank;
    return host === rank ? begin : -1;
  };
  const { channels, channelOf } = channelsOf();
  const barriers: Barrier[] = [];
  const barrierAt = new Map<string, number>();
  const barrierOf = (stage: number, kind: PassKind): number => {
    const key = `${kind} ${stage}`;
    const known = barrierAt.get(key);
    if (known !== undefined) return known;
    barrierAt.set(key, barriers.length);
    return barriers.push({ stage, kind, hosts: placement.hosts(stage).length }) - 1;
  };
  const sources: (readonly [source: number, target: number])[] = [];
  for (const [self, { rank, stage, kind }] of where.entries()) {
    const action = { kind, stage, microbatch: 0 };
    const locals: number[] = [];
    const awaited: number[] = [];
    let channel: number | undefined;
    for (const { action: source, edge } of PASSES[kind].needs(action, placement)) {
      const [from] = edge === 'same-rank' ? [rank] : placement.hosts(source.stage);
      if (edge === 'barrier') awaited.push(barrierOf(source.stage, source.kind));
      else if (from === rank) locals.push(instanceOf(rank, source.stage, source.kind));
      else {
        if (channel !== undefined) throw new InternalError(`${formatAction(action)} needs more than one message`);
        channel = channelOf(from!, rank, streamOf(action, source, placement));
        sources.push([instanceOf(from!, source.stage, source.kind), self]);
      }
    }
    instances.push({
      rank,
      stage,
      kind,
      locals,
      barriers: awaited,
      targets: [],
      ...(channel === undefined ? {} : { channel }),
    });
  }
  for (const [source, target] of sources) instances[source]!.targets.push(target);
  for (const instance of instances) {
    const joins = barrierAt.get(`${instance.kind} ${instance.stage}`);
    if (joins !== undefined) instance.joins = joins;
  }
  return {
    placement,
    microbatches,
    instances,
    channels,
    barriers,
    instanceOf,
    actionOf: (code) => {
      const { kind, stage } = instances[Math.floor(code / microbatches)]!;
      return { kind, stage, microbatch: code % microbatches };
    },
  };
}

function channelsOf() {
  const channels: Channel[] = [];
  const at = new Map<string, number>();
  return {
    channels,
    channelOf: (from: number, to: number, stream: string): number => {
      const key = `${from}>${to} ${stream}`;
      const known = at.get(key);
      if (known !== undefined) return known;
      at.set(key, channels.length);
      return channels.push({ from, to, stream }) - 1;
    },
  };
}

/** Throws InternalError for a list that validate.ts refuses. */
export function compile(schedule: Schedule, shape: PipelineShape): Compiled {
  const instances = instancesOf(schedule, shape);
  const { microbatches, instanceOf } = instances;
  const lists: Int32Array[] = [];
  for (let rank = 0; rank < shape.ranks; rank++) {
    const actions = schedule.actions(rank, shape);
    const codes = new Int32Array(actions.length);
    for (let i = 0; i < actions.length; i++) {
      const action = actions[i]!;
      const instance = instanceOf(rank, action.stage, action.kind);
      if (instance < 0 || !(action.microbatch >= 0 && action.microbatch < microbatches))
        throw new InternalError(`pipeline: rank ${rank} of ${schedule.name} lists ${formatAction(action)}`);
      codes[i] = instance * microbatches + action.microbatch;
    }
    lists.push(codes);
  }
  return { ...instances, lists };
}
