// What a rank will send in one training step, from what was recorded: the host steps of its plans, the messages between
// stages, the sums over replicas, tied weights and the report. Known before the first step.

import { allGatherBytes } from '../../collectives/all-gather.ts';
import type { Group } from '../../collectives/group.ts';
import type { Traffic } from '../../device/recorder.ts';
import type { Stage } from '../../model/stage.ts';
import { messagesOf } from '../../parallel/pipeline/messages.ts';
import { formatAction, PASSES } from '../../parallel/pipeline/passes.ts';
import { placementOf } from '../../parallel/pipeline/placement.ts';
import type { PipelineShape, Schedule } from '../../parallel/pipeline/schedule.ts';
import { sharedTraffic } from '../../parallel/vocab/shared.ts';
import type { SharedVocabulary } from '../../parallel/vocab/shared.ts';
import { REPORT_WORDS } from './step-report.ts';

/** Payload bytes by kind of message; what a router sends to other ranks' experts comes on top of 'all-to-all'. */
export type StepTraffic = Readonly<Record<string, number>>;

export interface TrafficSources {
  readonly schedule: Schedule;
  readonly shape: PipelineShape;
  readonly pipeline: Group;
  readonly world: Group;
  readonly stages: ReadonlyMap<number, Stage>;
  readonly vocabulary: SharedVocabulary | undefined;
  /** Once per step: replicas, tied weights. */
  readonly others: readonly { traffic(): readonly Traffic[] }[];
}

export function stepTraffic(sources: TrafficSources): StepTraffic {
  const { schedule, shape, pipeline, world, stages, vocabulary, others } = sources;
  const sums: Record<string, number> = {};
  const add = ({ kind, bytes }: Traffic, times = 1): void => {
    if (bytes > 0) sums[kind] = (sums[kind] ?? 0) + times * bytes;
  };
  const placement = placementOf(schedule, shape);
  const lists = Array.from({ length: shape.ranks }, (_, rank) => schedule.actions(rank, shape));
  const { deliveries } = messagesOf(lists, pipeline.rank, placement);
  for (const action of lists[pipeline.rank]) {
    const stage = stages.get(action.stage);
    for (const traffic of stage?.plans.get(action.kind)?.traffic ?? []) add(traffic);
    if (!stage) for (const traffic of sharedTraffic(vocabulary!, action.kind)) add(traffic);
    for (const { to } of deliveries.get(formatAction(action)) ?? [])
      if (to !== pipeline.rank)
        add({ kind: PASSES[action.kind].sends!, bytes: 4 * (stage ?? vocabulary!.shard).floats });
  }
  for (const other of others) other.traffic().forEach((traffic) => add(traffic));
  const parts = Array.from({ length: world.size + 1 }, (_, rank) => rank * REPORT_WORDS);
  add({ kind: 'all-gather', bytes: allGatherBytes(world.rank, parts) });
  return sums;
}
