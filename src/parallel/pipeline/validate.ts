// Is this schedule right for this shape? Every stage lies on exactly one rank; every rank lists exactly the actions of
// its stages, each once; nothing is listed before what it needs; and the lists together never deadlock, not even when
// each channel holds a single message. A schedule that passes runs in execute.ts. Returns sentences, the most telling
// first; an empty list means valid.

import type { Action, PipelineShape, Schedule } from './schedule.ts';
import { formatAction } from './dependencies.ts';
import { trySimulate } from './simulate.ts';

export interface ValidationOptions {
  /** Messages that a channel holds; 1 is the hardest that a runtime may offer. */
  readonly capacity?: number;
  /** Most microbatches (times chunks) that rank may keep in flight, if the schedule promises one. */
  readonly maxInFlight?: (rank: number) => number;
}

export function validate(
  schedule: Schedule,
  shape: PipelineShape,
  { capacity = 1, maxInFlight }: ValidationOptions = {},
): readonly string[] {
  const problems = [...checkStages(schedule, shape), ...checkLists(schedule, shape)];
  // The simulator may assume what has been checked up to here.
  if (problems.length > 0) return problems;
  for (const limit of [Infinity, capacity]) {
    const outcome = trySimulate(schedule, shape, { F: 1, B: 1, W: 1, capacity: limit });
    if (!outcome.ok) return outcome.stuck.map((line) => `deadlock: ${line}`);
    if (!maxInFlight) continue;
    for (const [rank, peak] of outcome.simulation.peakLive.entries()) {
      if (peak > maxInFlight(rank))
        return [`rank ${rank} keeps ${peak} microbatches in flight: at most ${maxInFlight(rank)} expected`];
    }
  }
  return [];
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
  const kinds: readonly Action['kind'][] = schedule.splitsWeights ? ['F', 'B', 'W'] : ['F', 'B'];
  for (let rank = 0; rank < shape.ranks; rank++) {
    const own = Array.from({ length: shape.chunks }, (_, chunk) => schedule.stageOf(rank, chunk, shape));
    const position = new Map<string, number>();
    for (const [index, action] of schedule.actions(rank, shape).entries()) {
      const name = formatAction(action);
      if (!kinds.includes(action.kind))
        problems.push(`rank ${rank} lists ${name}: this schedule has only ${kinds.join(', ')}`);
      else if (!own.includes(action.stage))
        problems.push(`rank ${rank} lists ${name}: it holds only stage ${own.join(', ')}`);
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
      for (let microbatch = 0; microbatch < shape.microbatches; microbatch++) {
        let before = -1;
        for (const kind of kinds) {
          const at = position.get(formatAction({ kind, stage, microbatch }));
          if (at === undefined) problems.push(`rank ${rank} never runs ${formatAction({ kind, stage, microbatch })}`);
          else if (at < before)
            problems.push(`rank ${rank} lists ${formatAction({ kind, stage, microbatch })} before what it needs`);
          before = Math.max(before, at ?? -1);
        }
      }
    }
  }
  return problems;
}
