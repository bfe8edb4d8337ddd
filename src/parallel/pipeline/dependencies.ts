// What a pipeline action waits for, and where the stages lie. Everything else (sends, receives, deadlocks, times)
// follows from these two. F of stage s needs F of stage s - 1; B needs its own F and B of stage s + 1; W needs its own
// B.

import type { Action, PipelineShape, Schedule } from './schedule.ts';
import { InternalError } from '../../base/errors.ts';

/** 'F2@1' is the forward of microbatch 2 on stage 1. */
export function formatAction({ kind, stage, microbatch }: Action): string {
  return `${kind}${microbatch}@${stage}`;
}

export function lastStage({ ranks, chunks }: PipelineShape): number {
  return ranks * chunks - 1;
}

/** The actions whose results `action` reads. One on another rank means a message. */
export function inputsOf(action: Action, shape: PipelineShape): readonly Action[] {
  const { kind, stage, microbatch } = action;
  switch (kind) {
    case 'F':
      return stage === 0 ? [] : [{ kind, stage: stage - 1, microbatch }];
    case 'B':
      return [
        { kind: 'F', stage, microbatch },
        ...(stage === lastStage(shape) ? [] : [{ kind, stage: stage + 1, microbatch } as const]),
      ];
    case 'W':
      return [{ kind: 'B', stage, microbatch }];
    default:
      throw new InternalError(`pipeline: ${formatAction(action)}: no rule says what ${kind} waits for`);
  }
}

/** The rank that holds each stage. Undefined entries and doubles are left for validate.ts to report. */
export function rankOfStage(schedule: Schedule, shape: PipelineShape): readonly (number | undefined)[] {
  const ranks: (number | undefined)[] = new Array<undefined>(shape.ranks * shape.chunks).fill(undefined);
  for (let rank = 0; rank < shape.ranks; rank++) {
    for (let chunk = 0; chunk < shape.chunks; chunk++) ranks[schedule.stageOf(rank, chunk, shape)] ??= rank;
  }
  return ranks;
}

/** As rankOfStage, for a schedule that validate.ts accepts. */
export function hostsOf(schedule: Schedule, shape: PipelineShape): readonly number[] {
  return rankOfStage(schedule, shape).map((rank, stage) => {
    if (rank === undefined) throw new InternalError(`${schedule.name}: no rank holds stage ${stage}`);
    return rank;
  });
}

/** The action that frees what the forward saved: W where weights are split off, B otherwise. */
export function releasingKind(schedule: Schedule): 'B' | 'W' {
  return schedule.splitsWeights ? 'W' : 'B';
}

/**
 * Most microbatches in flight on `rank`, per chunk: forwards that have begun without their saved tensors having been
 * freed. This is the number of slots that a chunk's activations need, known before training starts. Indexed by chunk.
 */
export function slotsOf(schedule: Schedule, rank: number, shape: PipelineShape): readonly number[] {
  const releasing = releasingKind(schedule);
  const chunkOf = new Map(
    Array.from({ length: shape.chunks }, (_, chunk) => [schedule.stageOf(rank, chunk, shape), chunk]),
  );
  const live = new Array<number>(shape.chunks).fill(0);
  const peak = new Array<number>(shape.chunks).fill(0);
  for (const action of schedule.actions(rank, shape)) {
    const chunk = chunkOf.get(action.stage);
    if (chunk === undefined)
      throw new InternalError(
        `pipeline: rank ${rank} of ${schedule.name} lists ${formatAction(action)}, but does not hold stage ${action.stage}`,
      );
    if (action.kind === 'F') peak[chunk] = Math.max(peak[chunk], ++live[chunk]);
    else if (action.kind === releasing) live[chunk]--;
  }
  return peak;
}
