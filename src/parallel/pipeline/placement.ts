// Where the stages of a schedule lie. Stages 0 to chain - 1 are the chain of blocks, each on one rank; after them come
// the stages that all ranks host: the shared embedding, then the shared head, where the schedule has their passes.

import { InternalError } from '../../base/errors.ts';
import type { PassKind, PipelineShape, Schedule } from './schedule.ts';

/** What a stage is made of. */
export type Part = 'blocks' | 'embedding' | 'head';

export interface StagePlacement {
  readonly passes: ReadonlySet<PassKind>;
  readonly headGradient: Schedule['headGradient'];
  readonly ranks: number;
  /** Stages of blocks. */
  readonly chain: number;
  /** All stages. */
  readonly stages: number;
  /** The stages that all ranks host. */
  readonly embedding?: number;
  readonly head?: number;
  part(stage: number): Part;
  /** In ascending order; empty for a stage that nobody holds, which validate.ts reports. */
  hosts(stage: number): readonly number[];
  /** The stages of a rank: its chunks in their order, then what all ranks share. */
  held(rank: number): readonly number[];
}

export function placementOf(schedule: Schedule, shape: PipelineShape): StagePlacement {
  const passes = new Set(schedule.passes);
  const { ranks, chunks } = shape;
  const chain = ranks * chunks;
  const all = Array.from({ length: ranks }, (_, rank) => rank);
  const embedding = passes.has('IF') ? chain : undefined;
  const head = passes.has('S') ? chain + (embedding === undefined ? 0 : 1) : undefined;
  const shared = [embedding, head].filter((stage) => stage !== undefined);
  const chunksOf = (rank: number): number[] =>
    Array.from({ length: chunks }, (_, chunk) => schedule.stageOf(rank, chunk, shape));
  const holder: number[] = [];
  for (const rank of all) for (const stage of chunksOf(rank)) holder[stage] ??= rank;
  return {
    passes,
    headGradient: schedule.headGradient,
    ranks,
    chain,
    stages: chain + shared.length,
    embedding,
    head,
    part: (stage) => (stage === embedding ? 'embedding' : stage === head ? 'head' : 'blocks'),
    hosts: (stage) => (shared.includes(stage) ? all : holder[stage] === undefined ? [] : [holder[stage]]),
    held: (rank) => [...chunksOf(rank), ...shared],
  };
}

/** The rank of each stage of blocks, for a schedule that validate.ts accepts. */
export function hostsOf(schedule: Schedule, shape: PipelineShape): readonly number[] {
  const { chain, hosts } = placementOf(schedule, shape);
  return Array.from({ length: chain }, (_, stage) => {
    const [rank] = hosts(stage);
    if (rank === undefined) throw new InternalError(`${schedule.name}: no rank holds stage ${stage}`);
    return rank;
  });
}
