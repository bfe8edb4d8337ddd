// How long each pass of a pipeline takes on a device: the plans of one rank after the other, as its trainer records
// them, with nobody else computing. For the simulator, and for runs with injected times (injected.ts).

import { InternalError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Device } from '../../device/device.ts';
import type { TokenSlice } from '../../model/language/language-stage.ts';
import type { WeightSource } from '../../model/param-spec.ts';
import type { Slot } from '../../device/storage/slots.ts';
import { partOf } from '../../parallel/pipeline/part.ts';
import type { Execution } from '../../parallel/pipeline/part.ts';
import { placementOf } from '../../parallel/pipeline/placement.ts';
import type { PassKind } from '../../parallel/pipeline/schedule.ts';
import { assignSlots } from '../../parallel/pipeline/slots.ts';
import type { SlotSet } from '../../parallel/pipeline/slots.ts';
import type { SharedVocabulary } from '../../parallel/vocab/shared.ts';
import { silentTrainer } from '../../train/memory/silent-trainer.ts';
import type { RunConfig } from '../../train/run-config.ts';
import type { Task } from '../../train/tasks/task.ts';
import type { Trainer } from '../../train/trainer.ts';

type F32 = Float32Array<ArrayBuffer>;

export interface PassCostsOptions<B = unknown> {
  /** With layout pp = p; passes of other layouts talk, which nobody answers here. */
  readonly config: RunConfig;
  readonly task: Task<B>;
  readonly batch: B;
  readonly weights: WeightSource;
  readonly device: Device;
  readonly world: World;
  /** Times that each pass is run after a first one that is not counted; the median is told. */
  readonly rounds: number;
  /** Called between passes; may throw to stop. */
  readonly checkpoint?: () => void;
}

/** Milliseconds by pass, from its inputs on this thread to its results there. */
export type PassTimes = ReadonlyMap<PassKind, number>;

/** By rank, and there by stage: what its passes take. */
export async function measurePasses<B>(
  options: PassCostsOptions<B>,
): Promise<readonly ReadonlyMap<number, PassTimes>[]> {
  const { config } = options;
  const all: ReadonlyMap<number, PassTimes>[] = [];
  for (let rank = 0; rank < config.layout.pp; rank++) {
    const trainer = await silentTrainer({ ...options, task: options.task as Task, rank });
    try {
      all.push(await measureRank(trainer, options));
    } finally {
      trainer.dispose();
    }
  }
  return all;
}

async function measureRank<B>(
  trainer: Trainer,
  { batch, world, rounds, checkpoint }: PassCostsOptions<B>,
): Promise<ReadonlyMap<number, PassTimes>> {
  const { engine, shape } = trainer;
  const { schedule, mesh } = trainer.options;
  const actions = schedule.actions(mesh.coordinate('pp'), shape);
  const { sets } = assignSlots(actions, placementOf(schedule, shape));
  const cut = engine.task.cut(batch)(0);
  const given = { of: () => cut.data, scored: false };
  const times = new Map<number, Map<PassKind, number>>();
  // The first microbatch of each stage: its passes follow one another in the order of the list.
  for (const [i, { kind, stage, microbatch }] of actions.entries()) {
    if (microbatch !== 0) continue;
    const held = engine.stages.get(stage);
    const part = held && partOf(held, given);
    const run = part
      ? (): Promise<unknown> => part.executions.get(kind)!(inputOf(part.floats, sets[i]!))
      : shardPass(engine.vocabulary!, kind, cut.data as TokenSlice, sets[i]!);
    await run();
    const taken: number[] = [];
    for (let round = 0; round < rounds; round++) {
      checkpoint?.();
      const start = world.now();
      await run();
      taken.push(world.now() - start);
    }
    const own = times.get(stage) ?? new Map<PassKind, number>();
    times.set(stage, own);
    own.set(kind, taken.sort((a, b) => a - b)[rounds >> 1]!);
  }
  return times;
}

/** Numbers of any kind: how long a pass takes does not depend on them. */
const floatsOf = (length: number): F32 => new Float32Array(length).fill(0.01);

function inputOf(floats: number, slots: SlotSet): Parameters<Execution>[0] {
  return { slots, received: floatsOf(floats), microbatch: 0, onWire: () => () => undefined };
}

function shardPass(
  { shard }: SharedVocabulary,
  kind: PassKind,
  slice: TokenSlice,
  slots: Slot,
): () => Promise<unknown> {
  const { floats } = shard;
  const { rows } = shard.options;
  if (kind === 'IF') return () => shard.embed(slice);
  if (kind === 'IB') return () => shard.embedBackward(slice, floatsOf(floats));
  if (kind === 'S') return () => shard.logits(slots, floatsOf(floats), slice);
  if (kind === 'S2') return () => shard.sums(slots);
  if (kind === 'T') return () => shard.gradient(slots, floatsOf(rows), new Float32Array(rows).fill(1));
  throw new InternalError(`a shard of the vocabulary has no pass ${kind}`);
}
