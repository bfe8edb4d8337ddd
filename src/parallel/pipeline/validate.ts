// Is this schedule right for this shape? Every stage of blocks lies on exactly one rank; every rank lists exactly the
// actions of its stages, each once; nothing is listed before what it needs; and the lists together never deadlock, not
// even when each channel holds a single message. A schedule that passes runs in execute.ts. Returns sentences, the most
// telling first; an empty list means valid.

import { PASS_KINDS } from './schedule.ts';
import type { PassKind, PipelineShape, Schedule } from './schedule.ts';
import { PASSES, formatAction, passesOf } from './passes.ts';
import { placementOf } from './placement.ts';
import { trySimulate } from './simulate.ts';

export interface ValidationOptions {
  /** Messages that a channel holds; the schedule's `room` if not given, 1 is the hardest that a runtime may offer. */
  readonly capacity?: number;
  /** Most microbatches (times chunks) that rank may keep in flight, if the schedule promises one. */
  readonly maxInFlight?: (rank: number) => number;
}

export function validate(
  schedule: Schedule,
  shape: PipelineShape,
  { capacity = schedule.room?.(shape) ?? 1, maxInFlight }: ValidationOptions = {},
): readonly string[] {
  const passes = checkPasses(schedule);
  if (passes.length > 0) return passes;
  const problems = [...checkStages(schedule, shape), ...checkLists(schedule, shape)];
  // The simulator may assume what has been checked up to here.
  if (problems.length > 0) return problems;
  const unit = Object.fromEntries(PASS_KINDS.map((kind) => [kind, 1])) as Record<PassKind, number>;
  for (const limit of [Infinity, capacity]) {
    const outcome = trySimulate(schedule, shape, { ...unit, capacity: limit });
    if (!outcome.ok) return outcome.stuck.map((line) => `deadlock: ${line}`);
    if (!maxInFlight) continue;
    for (const [rank, peak] of outcome.simulation.peakLive.entries()) {
      if (peak > maxInFlight(rank))
        return [`rank ${rank} keeps ${peak} microbatches in flight: at most ${maxInFlight(rank)} expected`];
    }
  }
  return [];
}

/** Passes that only make sense together. */
function checkPasses({ passes, headGradient }: Schedule): string[] {
  const has = (kind: PassKind): boolean => passes.includes(kind);
  const problems: string[] = [];
  for (const kind of ['F', 'B'] as const) if (!has(kind)) problems.push(`the passes lack ${kind}`);
  for (const [one, other] of [
    ['S', 'T'],
    ['IF', 'IB'],
  ] as const)
    if (has(one) !== has(other)) problems.push(`the passes have ${has(one) ? one : other} without its counterpart`);
  if (has('S2') && !has('S')) problems.push('the passes have S2 without S');
  if (has('S') !== (headGradient !== undefined))
    problems.push(`headGradient is ${headGradient ?? 'not said'}, with passes ${passes.join(', ')}`);
  return problems;
}

function checkStages(schedule: Schedule, shape: PipelineShape): string[] {
  const stages = shape.ranks * shape.chunks;
  const holder = new Map<number, string>();
  const problems: string[] = [];
  for (let rank = 0; rank < shape.ranks; rank++) {
    for (let chunk = 0; chunk < shape.chunks; chunk++) {
      const stage = schedule.stageOf(rank, chunk, shape);
      const place = `chunk ${chunk} of rank ${rank}`;
      if (!Number.isInteger(stage) || stage < 0 || stage >= stages)
        problems.push(`${place} holds stage ${stage}: expected 0 to ${stages - 1}`);
      else if (holder.has(stage)) problems.push(`stage ${stage} is held twice: by ${holder.get(stage)} and ${place}`);
      else holder.set(stage, place);
    }
  }
  return problems;
}

function checkLists(schedule: Schedule, shape: PipelineShape): string[] {
  const problems: string[] = [];
  const placement = placementOf(schedule, shape);
  for (let rank = 0; rank < shape.ranks; rank++) {
    const own = placement.held(rank);
    const position = new Map<string, number>();
    for (const [index, action] of schedule.actions(rank, shape).entries()) {
      const name = formatAction(action);
      const kinds = passesOf(placement.passes, placement.part(action.stage));
      if (!own.includes(action.stage))
        problems.push(`rank ${rank} lists ${name}: it holds only stage ${own.join(', ')}`);
      else if (!kinds.includes(action.kind))
        problems.push(`rank ${rank} lists ${name}: this stage has only ${kinds.join(', ')}`);
      else if (!(
        Number.isInteger(action.microbatch) &&
        action.microbatch >= 0 &&
        action.microbatch < shape.microbatches
      ))
        problems.push(`rank ${rank} lists ${name}: there are ${shape.microbatches} microbatches`);
      else if (position.has(name)) problems.push(`rank ${rank} lists ${name} twice`);
      else position.set(name, index);
    }
    for (const stage of own) {
      const kinds = passesOf(placement.passes, placement.part(stage));
      for (let microbatch = 0; microbatch < shape.microbatches; microbatch++) {
        for (const kind of kinds) {
          const action = { kind, stage, microbatch };
          const at = position.get(formatAction(action));
          if (at === undefined) problems.push(`rank ${rank} never runs ${formatAction(action)}`);
          // What is missing altogether is told once, above.
          else if (
            PASSES[kind]
              .needs(action, placement)
              .some(({ action: needed }) => (position.get(formatAction(needed)) ?? -1) > at)
          )
            problems.push(`rank ${rank} lists ${formatAction(action)} before what it needs`);
        }
      }
    }
  }
  return problems;
}
